//! From a piece of a stack to the addresses of its calls.
//!
//! Every program and library carries tables for panics and exceptions that tell,
//! for each instruction, where its function's caller and the caller's registers are
//! (`.eh_frame`). They are read here from this process's own memory, a copy at a
//! time: which files are mapped says `/proc/self/maps`, so the dynamic linker, whose
//! lock the blocked thread may hold, isn't asked.

use std::fs;

use gimli::{
    BaseAddresses, CfaRule, EhFrame, EhFrameHdr, LittleEndian, RegisterRule, UnwindContext,
    UnwindSection,
};

use super::capture::Captured;
use super::machine::{REGISTERS, RETURN_ADDRESS, STACK_POINTER};
use super::memory;
use crate::limits::WATCHDOG_FRAMES;

/// The addresses of the calls, innermost first: the instruction itself, then one
/// byte before each return address, which lies within the call.
///
/// # Errors
/// In words, if not even the innermost frame can be read.
pub fn addresses(captured: &Captured) -> Result<Vec<u64>, String> {
    let mut maps = mappings()?;
    let bottom = captured.registers[STACK_POINTER];
    let mut registers = captured.registers;
    let mut addresses = Vec::new();
    let mut modules: Vec<Module> = Vec::new();
    while addresses.len() < WATCHDOG_FRAMES {
        let at = registers[RETURN_ADDRESS];
        if at == 0 {
            break;
        }
        let inside = if addresses.is_empty() { at } else { at - 1 };
        let mut module = find(&mut modules, &maps, inside);
        if module.is_none() {
            // The kernel gives the list a page at a time: what other threads map and unmap
            // in between can hide a line.
            maps = mappings()?;
            module = find(&mut modules, &maps, inside);
        }
        let Some(module) = module else { break };
        addresses.push(inside);
        let stack = |address: u64| {
            let offset = usize::try_from(address.checked_sub(bottom)?).ok()?;
            let bytes = captured.stack.get(offset..offset.checked_add(8)?)?;
            Some(u64::from_le_bytes(bytes.try_into().ok()?))
        };
        match modules[module].caller(inside, &registers, stack) {
            Some(caller) => registers = caller,
            None => break,
        }
    }
    match addresses.is_empty() {
        true => Err("it runs code that belongs to no file".into()),
        false => Ok(addresses),
    }
}

fn mappings() -> Result<Vec<Mapping>, String> {
    let maps = fs::read_to_string("/proc/self/maps")
        .map_err(|error| format!("/proc/self/maps can't be read: {error}"))?;
    Ok(maps.lines().filter_map(Mapping::parse).collect())
}

/// A line of `/proc/self/maps`.
struct Mapping {
    begin: u64,
    end: u64,
    name: String,
}

impl Mapping {
    fn parse(line: &str) -> Option<Mapping> {
        let mut fields = line.split_ascii_whitespace();
        let (begin, end) = fields.next()?.split_once('-')?;
        let name = fields.nth(4)?.to_owned();
        Some(Mapping {
            begin: u64::from_str_radix(begin, 16).ok()?,
            end: u64::from_str_radix(end, 16).ok()?,
            name,
        })
    }
}

/// A program or library in memory, and its tables.
struct Module {
    begin: u64,
    end: u64,
    bases: BaseAddresses,
    header: Vec<u8>,
    frames: Vec<u8>,
}

/// The place in `modules` of the one that `address` belongs to, which is added if
/// need be.
fn find(modules: &mut Vec<Module>, maps: &[Mapping], address: u64) -> Option<usize> {
    let known = |module: &Module| (module.begin..module.end).contains(&address);
    if let Some(index) = modules.iter().position(known) {
        return Some(index);
    }
    let within = maps
        .iter()
        .position(|map| (map.begin..map.end).contains(&address))?;
    // A file is mapped in pieces that lie together.
    let name = &maps[within].name;
    let first = maps[..within].iter().rposition(|map| map.name != *name);
    let first = &maps[first.map_or(0, |index| index + 1)];
    let last = maps[within..]
        .iter()
        .take_while(|map| map.name == *name)
        .last()?;
    modules.push(Module::read(first.begin, last.end)?);
    Some(modules.len() - 1)
}

fn number<const N: usize>(bytes: &[u8], at: usize) -> Option<u64> {
    let bytes = bytes.get(at..at + N)?;
    let mut wide = [0; 8];
    wide[..N].copy_from_slice(bytes);
    Some(u64::from_le_bytes(wide))
}

impl Module {
    /// Finds the tables by the ELF header, which lies at `begin`.
    fn read(begin: u64, end: u64) -> Option<Module> {
        const LOAD: u64 = 1;
        const EH_FRAME: u64 = 0x6474_e550;
        let read = |address: u64, count: u64| memory::read(address as usize, count as usize).ok();
        let elf = read(begin, 64)?;
        if !elf.starts_with(b"\x7fELF") {
            return None;
        }
        let size = number::<2>(&elf, 54)?;
        let count = number::<2>(&elf, 56)?;
        let table = read(begin + number::<8>(&elf, 32)?, size * count)?;
        let (mut base, mut header) = (None, None);
        let segments: Vec<&[u8]> = table.chunks_exact(usize::try_from(size).ok()?).collect();
        for segment in &segments {
            let (kind, offset) = (number::<4>(segment, 0)?, number::<8>(segment, 8)?);
            let address = number::<8>(segment, 16)?;
            if kind == LOAD && offset == 0 {
                base = Some(begin.wrapping_sub(address));
            } else if kind == EH_FRAME {
                header = Some((address, number::<8>(segment, 40)?));
            }
        }
        let (base, (header_at, header_size)) = (base?, header?);
        let header_at = base.wrapping_add(header_at);
        let header = read(header_at, header_size)?;
        let bases = BaseAddresses::default().set_eh_frame_hdr(header_at);
        let parsed = EhFrameHdr::new(&header, LittleEndian)
            .parse(&bases, 8)
            .ok()?;
        let gimli::Pointer::Direct(frames_at) = parsed.eh_frame_ptr() else {
            return None;
        };
        // To the end of the segment that they lie in: their own end is marked.
        let frames_end = segments.iter().find_map(|segment| {
            let from = base.wrapping_add(number::<8>(segment, 16)?);
            let to = from + number::<8>(segment, 40)?;
            (number::<4>(segment, 0)? == LOAD && (from..to).contains(&frames_at)).then_some(to)
        })?;
        let frames = read(frames_at, frames_end - frames_at)?;
        Some(Module {
            begin,
            end,
            bases: bases.set_eh_frame(frames_at),
            header,
            frames,
        })
    }

    /// The registers of the caller of the code at `address`.
    fn caller(
        &self,
        address: u64,
        registers: &[u64; REGISTERS],
        stack: impl Fn(u64) -> Option<u64>,
    ) -> Option<[u64; REGISTERS]> {
        let frames = EhFrame::new(&self.frames, LittleEndian);
        let header = EhFrameHdr::new(&self.header, LittleEndian);
        let header = header.parse(&self.bases, 8).ok()?;
        let mut context = UnwindContext::new();
        let row = header
            .table()?
            .unwind_info_for_address(
                &frames,
                &self.bases,
                &mut context,
                address,
                EhFrame::cie_from_offset,
            )
            .ok()?;
        let CfaRule::RegisterAndOffset { register, offset } = row.cfa() else {
            return None;
        };
        let frame = registers
            .get(usize::from(register.0))?
            .wrapping_add_signed(*offset);
        let mut caller = *registers;
        caller[STACK_POINTER] = frame;
        // Of the outermost frame it is undefined.
        caller[RETURN_ADDRESS] = 0;
        for (register, rule) in row.registers() {
            let value = match rule {
                RegisterRule::Offset(offset) => stack(frame.wrapping_add_signed(*offset))?,
                RegisterRule::ValOffset(offset) => frame.wrapping_add_signed(*offset),
                RegisterRule::Register(other) => *registers.get(usize::from(other.0))?,
                RegisterRule::Undefined => 0,
                _ => continue,
            };
            if let Some(place) = caller.get_mut(usize::from(register.0)) {
                *place = value;
            }
        }
        Some(caller)
    }
}
