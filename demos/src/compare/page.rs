//! The comparison as one page: the tables, and pictures of what ran when.
//!
//! The pictures are drawn from traces of real rounds ([`super::picture`]), by boxes
//! whose places are shares of the time that the sequential program of the same
//! language takes: so they need no script, scale with the window, and a picture half
//! as wide took half as long.
//!
//! *Read after* [`super::table`], which is the same for a terminal.

use std::fmt::{self, Display, Write};

use super::Workload;
use super::document::Document;
use super::picture::{Bar, Nature, Picture};
use super::table::{self, Sizes};

/// One engine's picture of one shape.
#[derive(Debug, Clone)]
pub struct Drawn {
    /// Which shape.
    pub workload: Workload,
    /// Which engine: `threads`, `python-asyncio`, …
    pub engine: String,
    /// What ran when; `None` if this build records no traces.
    pub picture: Option<Picture>,
}

/// The shapes that are drawn: the article's own.
pub const SHAPES: [Workload; 2] = [Workload::CpuBound, Workload::IoBound];

const STYLE: &str = include_str!("page.css");

/// The whole page.
#[must_use]
pub fn page(document: &Document, sizes: &Sizes, drawn: &[Drawn], remarks: &[String]) -> String {
    let mut page = String::new();
    write_page(&mut page, document, sizes, drawn, remarks).expect("a string takes all");
    page
}

fn write_page(
    out: &mut String,
    document: &Document,
    sizes: &Sizes,
    drawn: &[Drawn],
    remarks: &[String],
) -> fmt::Result {
    write!(
        out,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>Processes, threads and an event loop, compared</title>\n\
         <style>{STYLE}</style>\n</head>\n<body>\n\
         <h1>Processes, threads and an event loop, compared</h1>\n<p>{}</p>\n",
        Escaped(&table::machine_line(document))
    )?;
    for shape in SHAPES {
        write_title(out, sizes, shape)?;
        let of_shape: Vec<&Drawn> = drawn.iter().filter(|one| one.workload == shape).collect();
        for python in [false, true] {
            let of_language: Vec<&Drawn> = of_shape
                .iter()
                .copied()
                .filter(|one| one.engine.starts_with("python-") == python)
                .collect();
            write_pictures(out, &of_language, python)?;
        }
        write_grid(out, &table::workload_rows(document, shape))?;
    }
    for workload in Workload::ALL {
        if !SHAPES.contains(&workload) {
            write_title(out, sizes, workload)?;
            write_grid(out, &table::workload_rows(document, workload))?;
        }
    }
    writeln!(out, "<h2>What they are, measured</h2>")?;
    write_grid(out, &table::closing_rows(document, sizes))?;
    let remarks = remarks.iter().map(|remark| format!("Note: {remark}."));
    for line in table::notes(document).into_iter().chain(remarks) {
        writeln!(out, "<p class=\"note\">{}</p>", Escaped(&line))?;
    }
    writeln!(out, "<h2>Which to pick for what</h2>\n<ul>")?;
    for line in table::advice(document) {
        writeln!(out, "<li>{}</li>", Escaped(&line))?;
    }
    writeln!(out, "</ul>\n</body>\n</html>")
}

/// A title that can be linked to.
fn write_title(out: &mut String, sizes: &Sizes, workload: Workload) -> fmt::Result {
    let (name, title) = (workload.name(), sizes.title(workload));
    writeln!(out, "<h2 id=\"{name}\">{}</h2>", Escaped(&title))
}

/// The pictures of one shape in one language, on one scale.
fn write_pictures(out: &mut String, drawn: &[&Drawn], python: bool) -> fmt::Result {
    let pictures = || drawn.iter().filter_map(|one| one.picture.as_ref());
    let Some(scale_ns) = pictures().map(|picture| picture.length_ns.max(1)).max() else {
        return Ok(());
    };
    for (one, picture) in drawn
        .iter()
        .filter_map(|one| Some((one, one.picture.as_ref()?)))
    {
        let caption = caption(&one.engine, picture);
        let took = table::seconds(Some(picture.length_ns as f64 / 1e9));
        write!(
            out,
            "<figure>\n<figcaption><b>{}</b> {took}: {}</figcaption>\n\
             <div role=\"img\" aria-label=\"{}\">\n",
            Escaped(&one.engine),
            Escaped(&caption),
            Escaped(&format!("{} rows. {caption}", picture.rows.len())),
        )?;
        for (index, row) in picture.rows.iter().enumerate() {
            write!(
                out,
                "<div class=\"row\"><span>{} {}</span><div>",
                Escaped(&row.unit),
                index + 1
            )?;
            for bar in &row.bars {
                write_bar(out, bar, scale_ns)?;
            }
            writeln!(out, "</div></div>")?;
        }
        writeln!(out, "</div>\n</figure>")?;
    }
    let scale = table::seconds(Some(scale_ns as f64 / 1e9));
    let whose = if python { "(Python's own scale)" } else { "" };
    let bars = || pictures().flat_map(|picture| picture.rows.iter().flat_map(|row| &row.bars));
    let legend = |nature: Nature, class, what| match bars().any(|bar| bar.nature == nature) {
        true => format!("<i class=\"{class}\"></i> {what} "),
        false => String::new(),
    };
    writeln!(
        out,
        "<p class=\"scale\"><span>0</span><span>{}{} {whose}</span><span>{scale}</span></p>",
        legend(Nature::Work, "work", "works"),
        legend(Nature::Wait, "wait", "waits"),
    )
}

fn write_bar(out: &mut String, bar: &Bar, scale_ns: u64) -> fmt::Result {
    let share = |ns: u64| 100.0 * ns as f64 / scale_ns as f64;
    let class = match bar.nature {
        Nature::Work => "work",
        Nature::Wait => "wait",
    };
    write!(
        out,
        "<i class=\"{class}\" style=\"left:{:.3}%;width:{:.3}%\"></i>",
        share(bar.start_ns),
        share(bar.end_ns - bar.start_ns),
    )
}

/// What the picture shows, in words.
fn caption(engine: &str, picture: &Picture) -> String {
    let works = picture.at_once(Nature::Work);
    let waits = picture.at_once(Nature::Wait);
    let unit = picture.rows.first().map_or("thread", |row| &row.unit);
    let locked = engine.starts_with("python-") && !engine.ends_with("-ft") && unit == "thread";
    match (works, waits) {
        (0, 0) => format!("nothing of {engine} was recorded"),
        (0 | 1, 0 | 1) => "one after the other".to_owned(),
        (_, waits) if unit == "task" => {
            format!("concurrent, one thread waits for {waits} answers at once")
        }
        (works, 0) if locked => {
            format!("concurrent, {works} threads take turns under one interpreter lock")
        }
        (works, 0) => format!("parallel, {works} {} work at once", plural(unit)),
        (_, waits) => format!("{waits} {} wait at once, each blocked", plural(unit)),
    }
}

fn plural(unit: &str) -> String {
    match unit {
        "process" => "processes".to_owned(),
        unit => format!("{unit}s"),
    }
}

/// The first row is the head, the first column names.
fn write_grid(out: &mut String, rows: &[Vec<String>]) -> fmt::Result {
    writeln!(out, "<div class=\"wide\"><table>")?;
    for (index, row) in rows.iter().enumerate() {
        write!(out, "<tr>")?;
        for (column, cell) in row.iter().enumerate() {
            let (tag, scope) = match (index, column) {
                (0, _) => ("th", " scope=\"col\""),
                (_, 0) => ("th", " scope=\"row\""),
                _ => ("td", ""),
            };
            write!(out, "<{tag}{scope}>{}</{tag}>", Escaped(cell))?;
        }
        writeln!(out, "</tr>")?;
    }
    writeln!(out, "</table></div>")
}

/// Text that may stand in HTML, in an attribute too.
struct Escaped<'t>(&'t str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '&' => f.write_str("&amp;")?,
                '"' => f.write_str("&quot;")?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::picture::Row;
    use super::*;

    fn picture(unit: &str, bars: &[&[(u64, u64, Nature)]]) -> Picture {
        let rows = bars.iter().map(|bars| Row {
            unit: unit.into(),
            bars: bars
                .iter()
                .map(|&(start_ns, end_ns, nature)| Bar {
                    start_ns,
                    end_ns,
                    nature,
                })
                .collect(),
        });
        Picture {
            length_ns: 10,
            rows: rows.collect(),
        }
    }

    #[test]
    fn captions_tell_parallel_from_concurrent() {
        use Nature::{Wait, Work};
        let say = |unit, bars: &[&[_]]| caption("x", &picture(unit, bars));
        let one_by_one: &[&[_]] = &[&[(0, 5, Work), (5, 10, Work)]];
        assert_eq!(say("thread", one_by_one), "one after the other");
        let side_by_side: &[&[_]] = &[&[(0, 5, Work)], &[(1, 6, Work)]];
        assert_eq!(
            say("process", side_by_side),
            "parallel, 2 processes work at once"
        );
        assert_eq!(
            caption("python-threading", &picture("thread", side_by_side)),
            "concurrent, 2 threads take turns under one interpreter lock"
        );
        let blocked: &[&[_]] = &[&[(0, 5, Wait)], &[(1, 6, Wait)]];
        assert_eq!(
            say("thread", blocked),
            "2 threads wait at once, each blocked"
        );
        let tasks: &[&[_]] = &[
            &[(0, 9, Wait), (0, 1, Work), (8, 9, Work)],
            &[(1, 10, Wait), (1, 2, Work), (9, 10, Work)],
        ];
        assert_eq!(
            say("task", tasks),
            "concurrent, one thread waits for 2 answers at once"
        );
    }

    #[test]
    fn what_stands_in_the_page_cannot_leave_its_place() {
        assert_eq!(
            Escaped("<b a=\"&\">").to_string(),
            "&lt;b a=&quot;&amp;&quot;&gt;"
        );
    }
}
