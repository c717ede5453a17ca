//! What is written of a trace can be read, and refers to what exists.

use std::fs;
use std::path::Path;

use serde_json::Value;
use threeply_runtime::trace::{Kind, ParcelError, Trace};
use threeply_runtime::{block_on, spawn, unblock, yield_now};

use crate::kit::{check_causes, check_order, record};

fn some_trace() -> Trace {
    let (trace, ()) = record(|| {
        block_on(async {
            let named = threeply_runtime::task::Builder::new().name("</script>\"\\\n");
            named.spawn(yield_now()).await.unwrap();
            spawn(async {}).await.unwrap();
            unblock(|| ()).await.unwrap();
        });
    });
    trace
}

#[test]
fn the_model_is_json_whose_indices_exist() {
    let trace = some_trace();
    let text = trace.to_model();
    assert!(!text.contains("</"), "it can stand in a page");
    let document: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(document["format"], "threeply-trace");
    let len = |name: &str| document[name].as_array().unwrap().len() as i64;
    let rows = document["events"]["rows"].as_array().unwrap();
    assert_eq!(rows.len(), trace.events().len());
    let columns = document["events"]["columns"].as_array().unwrap();
    for (at, row) in rows.iter().enumerate() {
        let number = |name: &str| {
            let column = columns.iter().position(|column| column == name).unwrap();
            row[column].as_i64().unwrap()
        };
        assert_eq!(row.as_array().unwrap().len(), columns.len());
        assert!((0..len("lanes")).contains(&number("lane")));
        assert!((0..len("kinds")).contains(&number("kind")));
        assert!((-1..len("subjects")).contains(&number("subject")));
        assert!((-1..at as i64).contains(&number("inside")));
        assert!(number("end") == -1 || number("end") >= number("start"));
        assert!(number("line") > 0);
    }
    for arrow in document["arrows"]["rows"].as_array().unwrap() {
        for end in [&arrow[0], &arrow[1]] {
            assert!(end.as_u64().unwrap() < rows.len() as u64);
        }
    }
    let names = document["subjects"].as_array().unwrap();
    assert!(names.iter().any(|subject| {
        subject["name"]
            .as_str()
            .unwrap()
            .contains("'</script>\"\\\n'")
    }));
}

#[test]
fn chrome_gets_its_spans_instants_and_flows() {
    let trace = some_trace();
    let mut text = Vec::new();
    trace.write_chrome(&mut text).unwrap();
    let document: Value = serde_json::from_slice(&text).unwrap();
    let events = document["traceEvents"].as_array().unwrap();
    let with = |phase: &str| events.iter().filter(|event| event["ph"] == phase).count();
    assert_eq!(with("s"), trace.arrows().len());
    assert_eq!(with("f"), trace.arrows().len());
    assert_eq!(with("X") + with("i"), trace.events().len());
    for event in events.iter().filter(|event| event["ph"] == "X") {
        assert!(event["ts"].is_number() && event["dur"].is_number());
        assert!(event["args"]["source"].as_str().unwrap().contains(".rs:"));
    }
}

#[test]
fn a_trace_comes_out_of_a_parcel_as_it_went_in() {
    let trace = some_trace();
    let parcel = trace.to_parcel();
    let read = Trace::from_parcel(&parcel).unwrap();
    assert_eq!(read.to_model(), trace.to_model());
    assert!(parcel.len() < 40 * trace.events().len() + 4_000);
}

#[test]
fn a_torn_parcel_is_told_as_torn_and_a_strange_one_as_strange() {
    let parcel = some_trace().to_parcel();
    let mark = parcel.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    for length in 0..parcel.len() {
        let expected = match length < mark {
            true => ParcelError::NotOurs,
            false => ParcelError::Torn,
        };
        assert_eq!(Trace::from_parcel(&parcel[..length]).unwrap_err(), expected);
    }
    let too_long = [&parcel[..], b"?"].concat();
    assert_eq!(
        Trace::from_parcel(&too_long).unwrap_err(),
        ParcelError::Torn
    );
    // Whatever byte is another: a trace in which all that is named exists, or none.
    for place in mark..parcel.len() {
        let mut other = parcel.clone();
        other[place] ^= 0x11;
        if let Ok(trace) = Trace::from_parcel(&other) {
            assert!(trace.to_model().starts_with("{\"format\""));
            trace.write_chrome(std::io::sink()).unwrap();
        }
    }
}

#[test]
fn merged_traces_keep_their_order_causes_and_times() {
    let (first, second) = (some_trace(), some_trace());
    let lanes = first.lanes().len();
    let (events, arrows) = (first.events().len(), first.arrows().len());
    let gap = second.began().duration_since(first.began()).unwrap();
    // Given the wrong way round: the lanes come in the order given, the events in that of time.
    let both = Trace::merge([("later", second.clone()), ("earlier", first.clone())]).unwrap();
    check_order(&both);
    check_causes(&both);
    assert_eq!(both.began(), first.began());
    assert_eq!(both.events().len(), events + second.events().len());
    assert_eq!(both.arrows().len(), arrows + second.arrows().len());
    let runs: Vec<&str> = both.lanes().iter().map(|lane| lane.run.as_str()).collect();
    assert_eq!(
        runs[..second.lanes().len()],
        vec!["later"; second.lanes().len()]
    );
    assert_eq!(runs[second.lanes().len()..], vec!["earlier"; lanes]);
    // The calendar's clock may be set in between; here it is only slower to be read.
    let moved = both.events()[events].start_ns - second.events()[0].start_ns;
    assert!(
        moved.abs_diff(gap.as_nanos() as u64) < 1_000_000_000,
        "{moved} of {gap:?}"
    );
    for (at, event) in second.events().iter().enumerate() {
        let there = &both.events()[events + at];
        assert_eq!(there.start_ns, event.start_ns + moved);
        assert_eq!(both.text(there), second.text(event));
    }
    assert!(Trace::merge(Vec::<(String, Trace)>::new()).is_none());
}

/// Each kind is told in the file and by the function that it knows, and nowhere
/// else.
#[test]
fn every_kind_knows_its_source() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut sources = Vec::new();
    for folder in ["runtime/src", "pools/src", "demos/src"] {
        read(&root.join(folder), &mut sources);
    }
    for kind in Kind::ALL {
        let about = kind.about();
        let call = format!("(Kind::{kind:?},line!(),");
        let telling = sources.iter().filter(|(_, text)| text.contains(&call));
        let files: Vec<&str> = telling.map(|(name, _)| name.as_str()).collect();
        assert_eq!(files, [about.file], "{kind:?}");
        let (_, text) = sources.iter().find(|(name, _)| name == about.file).unwrap();
        let before = &text[..text.find(&call).unwrap()];
        let function = about.function;
        assert!(
            before.contains(&format!("fn{function}("))
                || before.contains(&format!("fn{function}<")),
            "{kind:?}: no function {function} before it"
        );
    }
}

/// The Rust files, without white space.
fn read(folder: &Path, sources: &mut Vec<(String, String)>) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read(&path, sources);
        } else if path.extension().is_some_and(|end| end == "rs") {
            let name = path.strip_prefix(root).unwrap().display().to_string();
            let text = fs::read_to_string(path).unwrap();
            sources.push((name, text.split_whitespace().collect()));
        }
    }
}
