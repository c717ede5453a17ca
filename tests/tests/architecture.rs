//! The rules of the workspace that a compiler doesn't check.
//!
//! They are told as absences ("runtime never depends on pools") and kept here,
//! so that a change which breaks one fails with a sentence that says what to do.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use threeply_tests::models::MODELS;

/// Other people's runtimes and pools, and the crypto library that makes
/// `rustls` ambiguous about its provider. Only `benches` may see any of them.
const FOREIGN: &[&str] = &[
    "tokio",
    "tokio-util",
    "async-std",
    "async-executor",
    "async-global-executor",
    "smol",
    "rayon",
    "rayon-core",
    "monoio",
    "glommio",
    "compio",
    "hyper",
    "aws-lc-rs",
    "aws-lc-sys",
];

/// The files that may ask for `cfg` of loom: one switch a crate.
const SWITCHES: &[&str] = &[
    "runtime/src/switch.rs",
    "pools/src/switch.rs",
    "tests/loom/main.rs",
];

const CRATES: &[&str] = &["runtime", "pools", "demos", "tests", "benches"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .canonicalize()
        .expect("the workspace exists")
}

/// Every package that takes part in any build of `package` on this target, dev
/// and build dependencies included.
fn dependencies(package: &str) -> Vec<String> {
    let output = Command::new(env!("CARGO"))
        .args([
            "tree",
            "--locked",
            "--all-features",
            "--edges",
            "normal,build,dev",
        ])
        .args(["--prefix", "none", "--format", "{p}", "--package", package])
        .current_dir(root())
        .output()
        .expect("cargo starts");
    assert!(
        output.status.success(),
        "cargo tree failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let mut names: Vec<String> = String::from_utf8(output.stdout)
        .expect("cargo prints UTF-8")
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .map(str::to_owned)
        .collect();
    names.sort_unstable();
    names.dedup();
    assert!(
        names.iter().any(|name| name == package),
        "cargo tree lists {package} itself"
    );
    names
}

#[test]
fn no_foreign_runtime_reaches_the_engines_or_the_demos() {
    for package in ["threeply-runtime", "threeply-pools", "threeply-demos"] {
        let names = dependencies(package);
        for foreign in FOREIGN {
            assert!(
                !names.iter().any(|name| name == foreign),
                "{foreign} reaches {package}; see `cargo tree -p {package} -i {foreign} -e all`"
            );
        }
    }
}

#[test]
fn the_runtime_knows_nothing_of_what_stands_on_it() {
    let names = dependencies("threeply-runtime");
    for above in [
        "threeply-pools",
        "threeply-demos",
        "threeply-tests",
        "threeply-benches",
    ] {
        assert!(
            !names.iter().any(|name| name == above),
            "threeply-runtime depends on {above}"
        );
    }
    let names = dependencies("threeply-pools");
    for above in ["threeply-demos", "threeply-tests", "threeply-benches"] {
        assert!(
            !names.iter().any(|name| name == above),
            "threeply-pools depends on {above}"
        );
    }
}

/// All files below `dir` with this extension; build output and dotfiles aside.
fn files(dir: &Path, extension: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).expect("a folder of the workspace is readable") {
        let path = entry.expect("a folder of the workspace is readable").path();
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        if name.starts_with('.') || name == "target" {
            continue;
        }
        if path.is_dir() {
            files(&path, extension, found);
        } else if path.extension().is_some_and(|found| found == extension) {
            found.push(path);
        }
    }
}

/// Path from the top of the repository, and text, of every Rust file.
fn sources() -> Vec<(String, String)> {
    let root = root();
    let mut found = Vec::new();
    for folder in CRATES {
        files(&root.join(folder), "rs", &mut found);
    }
    found
        .into_iter()
        .map(|path| {
            let text = fs::read_to_string(&path).expect("a source file is UTF-8");
            let name = path
                .strip_prefix(&root)
                .expect("below the root")
                .display()
                .to_string();
            (name, text)
        })
        .collect()
}

/// The lines that are code, with their number.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .map(|(index, line)| (index + 1, line))
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
}

#[test]
fn loom_is_switched_in_one_file_a_crate() {
    for (name, text) in sources() {
        if SWITCHES.contains(&name.as_str()) {
            continue;
        }
        for (number, line) in code(&text) {
            let switched = ["cfg(", "cfg!(", "cfg_attr("]
                .iter()
                .filter_map(|start| line.split_once(start))
                .any(|(_, condition)| condition.contains("loom"));
            assert!(
                !switched,
                "{name}:{number} asks for loom by cfg; only {SWITCHES:?} may: take what is needed \
                 from the crate's switch module"
            );
        }
    }
}

#[test]
fn every_source_file_says_what_it_is_for() {
    for (name, text) in sources() {
        let head = text
            .lines()
            .find(|line| !line.trim().is_empty())
            .unwrap_or_default();
        assert!(
            head.starts_with("//!"),
            "{name} has no `//!` at its head that says what it is for"
        );
    }
}

#[test]
fn unsafe_is_opened_file_by_file_with_a_reason() {
    let opening = concat!("allow(", "unsafe_code)");
    for (name, text) in sources() {
        for (number, line) in code(&text) {
            if !line.contains(opening) {
                continue;
            }
            assert!(
                line.starts_with("#!["),
                "{name}:{number} opens unsafe for an item: open it for a file, at its head"
            );
            assert!(
                !name.ends_with("src/lib.rs"),
                "{name}:{number} opens unsafe for the whole crate"
            );
            let lines: Vec<&str> = text.lines().collect();
            let reason = line.contains("//")
                || (number >= 2 && lines[number - 2].trim_start().starts_with("//"))
                || lines
                    .get(number)
                    .is_some_and(|next| next.trim_start().starts_with("//"));
            assert!(
                reason,
                "{name}:{number} opens unsafe without a comment that says why"
            );
        }
    }
}

#[test]
fn the_top_level_holds_the_five_crates_and_the_customary_files() {
    let allowed = [
        "Cargo.toml",
        "Cargo.lock",
        "README.md",
        "LICENSE-MIT",
        "LICENSE-APACHE",
        "target",
    ];
    for entry in fs::read_dir(root()).expect("the root is readable") {
        let name = entry
            .expect("the root is readable")
            .file_name()
            .into_string()
            .expect("UTF-8");
        let known = name.starts_with('.')
            || allowed.contains(&name.as_str())
            || CRATES.contains(&name.as_str());
        assert!(
            known,
            "{name} stands at the top level: put it into one of {CRATES:?}"
        );
    }
    for folder in CRATES {
        let manifest = root().join(folder).join("Cargo.toml");
        let text = fs::read_to_string(manifest).expect("each folder is a crate");
        assert!(
            text.contains(&format!("name = \"threeply-{folder}\"")),
            "the crate in {folder} is not called threeply-{folder}"
        );
    }
}

#[test]
fn versions_and_lints_stand_in_one_place() {
    for folder in CRATES {
        let text = fs::read_to_string(root().join(folder).join("Cargo.toml")).expect("a manifest");
        assert!(
            text.contains("[lints]\nworkspace = true"),
            "{folder}/Cargo.toml doesn't take the workspace's lints"
        );
        let mut in_dependencies = false;
        for line in text.lines() {
            if line.starts_with('[') {
                in_dependencies = line.contains("dependencies");
            } else if in_dependencies && line.contains('=') && !line.trim_start().starts_with('#') {
                assert!(
                    line.contains("workspace = true"),
                    "{folder}/Cargo.toml: `{line}` has its version outside [workspace.dependencies]"
                );
            }
        }
    }
}

#[test]
fn a_newcomer_never_builds_the_peers() {
    let text = fs::read_to_string(root().join("Cargo.toml")).expect("the workspace's manifest");
    let members = text
        .lines()
        .find(|line| line.starts_with("default-members"))
        .expect("default-members is one line");
    assert!(
        !members.contains("benches"),
        "benches is in default-members"
    );
    let demos = fs::read_to_string(root().join("demos/Cargo.toml")).expect("a manifest");
    assert!(
        demos.contains("default-run = \"compare\""),
        "`cargo run` at the root must run `compare`"
    );
}

/// Targets of relative Markdown links, and code spans that look like a file.
fn mentioned_paths(text: &str) -> Vec<String> {
    let mut paths = Vec::new();
    let mut fenced = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        if fenced {
            continue;
        }
        for part in line.split("](").skip(1) {
            let target = part.split([')', '#', ' ']).next().unwrap_or_default();
            if !target.is_empty() && !target.contains(':') {
                paths.push(target.to_owned());
            }
        }
        for span in line.split('`').skip(1).step_by(2) {
            let plain = span
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '_' | '-'));
            let file = [".rs", ".md", ".toml"]
                .iter()
                .any(|end| span.ends_with(end));
            let folder = span.ends_with('/')
                && CRATES
                    .iter()
                    .any(|folder| span.starts_with(&format!("{folder}/")));
            if plain && !span.starts_with(['/', '.']) && ((file && span.contains('/')) || folder) {
                paths.push(span.to_owned());
            }
        }
    }
    paths
}

#[test]
fn every_path_that_a_readme_names_exists() {
    let root = root();
    let mut readmes = vec![root.join("README.md")];
    for folder in CRATES {
        files(&root.join(folder), "md", &mut readmes);
    }
    let mut lost = Vec::new();
    for readme in readmes {
        let text = fs::read_to_string(&readme).expect("a README is UTF-8");
        let own = readme.parent().expect("a file has a folder").to_path_buf();
        // A README may speak from the top, from its own folder, from its crate
        // or from its crate's `src`.
        let inner = readme.strip_prefix(&root).expect("below the root");
        let owner = root.join(inner.iter().next().expect("a path has a first part"));
        let bases = [root.clone(), own, owner.clone(), owner.join("src")];
        for path in mentioned_paths(&text) {
            if !bases.iter().any(|base| base.join(&path).exists()) {
                lost.push(format!("{}: {path}", inner.display()));
            }
        }
    }
    assert!(
        lost.is_empty(),
        "READMEs name files that don't exist: {lost:#?}"
    );
}

/// Names in READMEs that are other people's, and that no code of ours uses.
const OTHERS_NAMES: &[&str] = &[
    "SEM_UNDO",
    "active_children",
    "cancel_join_thread",
    "cpu_count",
    "current_process",
    "freeze_support",
    "get_context",
    "get_lock",
    "join_thread",
    "n_waiting",
    "parent_id",
    "parent_process",
    "recv_bytes",
    "send_bytes",
    "set_result",
    "shared_memory",
    "start_server",
];

/// The last part of each code span that can only be a name of code: `a::b`, `b()`, `a_b`.
fn mentioned_names(text: &str) -> Vec<&str> {
    let mut names = Vec::new();
    let mut fenced = false;
    for line in text.lines() {
        fenced ^= line.trim_start().starts_with("```");
        if fenced {
            continue;
        }
        for span in line.split('`').skip(1).step_by(2) {
            let (path, is_call) = match span.split_once('(') {
                Some((path, rest)) => (path, rest.ends_with(')')),
                None => (span, false),
            };
            let is_path = path.split("::").all(|part| {
                let is_word = part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
                is_word && part.starts_with(|c: char| c.is_ascii_alphabetic())
            });
            let last = path.rsplit("::").next().unwrap_or_default();
            if is_path && (is_call || last != path || last.contains('_')) {
                names.push(last);
            }
        }
    }
    names
}

#[test]
fn every_name_that_a_readme_tells_is_one_of_the_code() {
    let root = root();
    let mut sources = Vec::new();
    for folder in CRATES {
        for ending in ["rs", "py"] {
            files(&root.join(folder), ending, &mut sources);
        }
    }
    let mut known: HashSet<String> = OTHERS_NAMES.iter().map(|&name| name.into()).collect();
    for source in sources {
        let text = fs::read_to_string(&source).expect("a source is UTF-8");
        let code = text
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"));
        for line in code {
            let words = line.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            known.extend(words.map(str::to_owned));
        }
        // A program is called as its file.
        known.extend(
            source
                .file_stem()
                .and_then(|stem| Some(stem.to_str()?.to_owned())),
        );
    }
    // The benchmarks' README names its rows, which are put together from parts.
    let mut readmes = vec![root.join("README.md")];
    for folder in CRATES.iter().filter(|&&folder| folder != "benches") {
        files(&root.join(folder), "md", &mut readmes);
    }
    let mut lost = Vec::new();
    for readme in readmes {
        let text = fs::read_to_string(&readme).expect("a README is UTF-8");
        let inner = readme.strip_prefix(&root).expect("below the root");
        let unknown = mentioned_names(&text).into_iter();
        let unknown = unknown.filter(|&name| !known.contains(name));
        lost.extend(unknown.map(|name| format!("{}: {name}", inner.display())));
    }
    assert!(
        lost.is_empty(),
        "READMEs tell names that no code has: {lost:#?}"
    );
}

#[test]
fn every_model_names_a_file_that_exists() {
    for model in MODELS {
        assert!(
            root().join(model.file).is_file(),
            "{} names {}, which doesn't exist",
            model.name,
            model.file
        );
    }
}

/// The folders whose futures promise something about being dropped.
const ASYNC_FOLDERS: &[&str] = &["runtime/src/", "demos/src/http/"];

/// What such a promise says, in lower case.
const PROMISES: &[&str] = &[
    "cancel-safe",
    "cancel safe",
    "cancel safety",
    "dropped",
    "dropping",
    "drops",
];

/// The documentation above line `index`, attributes left out.
fn documentation(lines: &[&str], index: usize) -> String {
    let above = lines[..index].iter().rev().map(|line| line.trim());
    // An attribute may have several lines; what it says is no documentation.
    let mut doc: Vec<&str> = above
        .take_while(|line| {
            line.starts_with("///") || !(line.is_empty() || line.ends_with(['{', '}', ';']))
        })
        .filter(|line| line.starts_with("///"))
        .collect();
    doc.reverse();
    doc.join("\n")
}

fn promises(doc: &str) -> bool {
    let doc = doc.to_lowercase();
    PROMISES.iter().any(|promise| doc.contains(promise))
}

/// `fn` with everything up to its body, from the line where it begins.
fn signature(lines: &[&str], index: usize) -> String {
    let mut signature = String::new();
    for line in &lines[index..] {
        signature.push_str(line.trim());
        signature.push(' ');
        if line.contains(['{', ';']) {
            break;
        }
    }
    signature
}

/// The name after `start`, up to the first character that no name has.
fn name_after<'a>(line: &'a str, start: &str) -> Option<&'a str> {
    let (_, rest) = line.split_once(start)?;
    rest.split(|c: char| !c.is_alphanumeric() && c != '_')
        .next()
}

#[test]
fn every_future_says_what_happens_when_it_is_dropped() {
    let watched: Vec<_> = sources()
        .into_iter()
        .filter(|(name, _)| {
            ASYNC_FOLDERS.iter().any(|folder| name.starts_with(folder)) && !name.contains("/tests")
        })
        .map(|(name, text)| {
            let end = text.find("#[cfg(test)]\nmod ").unwrap_or(text.len());
            (name, text[..end].to_owned())
        })
        .collect();
    // Types that are futures, by the name of the crate and their own, and whether
    // they say it themselves.
    let mut futures = std::collections::HashMap::new();
    for (file, text) in &watched {
        let lines: Vec<&str> = text.lines().collect();
        for name in lines
            .iter()
            .filter(|line| line.starts_with("impl"))
            .filter_map(|line| name_after(line, " Future for "))
        {
            let head = format!("pub struct {name}");
            let at = lines
                .iter()
                .position(|line| name_after(line, "pub struct ") == Some(name));
            if let Some(at) = at {
                assert!(lines[at].starts_with(&head), "{file}: {name} is top-level");
                let says = promises(&documentation(&lines, at));
                futures.insert((file.split('/').next(), name), says);
            }
        }
    }
    let mut silent = Vec::new();
    let mut found = 0;
    for (file, text) in &watched {
        let lines: Vec<&str> = text.lines().collect();
        for (index, line) in lines.iter().enumerate() {
            let plain = line
                .trim_start()
                .replace("unsafe ", "")
                .replace("const ", "");
            let is_async = plain.starts_with("pub async fn ");
            // The functions of a public trait have no `pub` of their own.
            let of_trait = plain.starts_with("fn ") && text.contains("\npub trait ");
            if !is_async && !of_trait && !plain.starts_with("pub fn ") {
                continue;
            }
            let signature = signature(&lines, index);
            let returned = signature.rsplit_once("-> ").map_or("", |parts| parts.1);
            let named = name_after(&signature, "-> ").unwrap_or_default();
            // A file's own type of that name comes first.
            let own = ["pub struct ", "pub enum "].iter().any(|kind| {
                lines
                    .iter()
                    .any(|line| name_after(line, kind) == Some(named))
            });
            let implements = text.contains(&format!(" Future for {named}"));
            let of_type = futures
                .get(&(file.split('/').next(), named))
                .filter(|_| !own || implements);
            let opaque = returned.starts_with("impl Future") || returned.contains("dyn Future");
            if !is_async && !opaque && of_type.is_none() {
                continue;
            }
            found += 1;
            if !promises(&documentation(&lines, index)) && of_type != Some(&true) {
                silent.push(format!("{file}:{}: {}", index + 1, line.trim()));
            }
        }
    }
    assert!(
        found > 120,
        "only {found} functions found: is the search broken?"
    );
    assert!(
        silent.is_empty(),
        "these don't say what happens when their future is dropped before its end; write \
         whether it is cancel-safe, and if not, what is lost: {silent:#?}"
    );
}
