//! Values at places that stay theirs until they leave: who waits for a token.

/// So many empty places are kept for the next who come.
pub const KEPT_PLACES: usize = 64;

/// A vector whose places are used again. All operations are O(1).
pub struct Places<T> {
    all: Vec<Option<T>>,
    free: Vec<usize>,
}

impl<T> Places<T> {
    /// Without places.
    pub const fn new() -> Self {
        Places {
            all: Vec::new(),
            free: Vec::new(),
        }
    }

    /// Places, used or free.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether there is no place, used or free.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Puts a value at a free place.
    pub fn insert(&mut self, value: T) -> usize {
        match self.free.pop() {
            Some(place) => {
                self.all[place] = Some(value);
                place
            }
            None => {
                self.all.push(Some(value));
                self.all.len() - 1
            }
        }
    }

    /// The values, in the order of their places.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.all.iter().flatten()
    }

    /// The value at a place.
    pub fn get(&self, place: usize) -> Option<&T> {
        self.all.get(place)?.as_ref()
    }

    /// Changes the value at a place that is in use; gives back the old one, or
    /// the new one if the place isn't in use.
    pub fn replace(&mut self, place: usize, value: T) -> Option<T> {
        match self.all.get_mut(place) {
            Some(Some(old)) => Some(std::mem::replace(old, value)),
            _ => Some(value),
        }
    }

    /// Takes the value away, if there is one.
    pub fn remove(&mut self, place: usize) -> Option<T> {
        let value = self.all.get_mut(place)?.take()?;
        self.free.push(place);
        if self.free.len() == self.all.len() && self.all.len() > KEPT_PLACES {
            *self = Self::new(); // What a crowd left behind goes with its last.
        }
        Some(value)
    }

    /// Takes all values away, in the order of their places.
    pub fn take(&mut self) -> impl Iterator<Item = T> + use<T> {
        std::mem::take(self).all.into_iter().flatten()
    }
}

impl<T> Default for Places<T> {
    fn default() -> Self {
        Self::new()
    }
}
