//! Rules about the source, each with the fix in its message.
//!
//! A rule may have exemptions, with their reason; one that matches nothing any more is a mistake too.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The folders that hold source.
const FOLDERS: &[&str] = &[
    "src",
    "tests",
    "actors",
    "supervisors",
    "examples",
    "benches",
];

/// The halves of the network. They meet in `wire` only, so neither may import the other.
const SERVING: &[&str] = &["server", "connection"];
const GETTING: &[&str] = &["client", "download", "coordinator"];

/// A source file and its text.
struct Source {
    /// From the root of the repository, with `/` between the parts.
    path: String,
    text: String,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources() -> Vec<Source> {
    let mut paths = Vec::new();
    for folder in FOLDERS {
        walk(&root().join(folder), &mut paths);
    }
    paths.sort();
    let source = |path: PathBuf| Source {
        text: fs::read_to_string(&path).unwrap(),
        path: path
            .strip_prefix(root())
            .unwrap()
            .to_str()
            .unwrap()
            .replace('\\', "/"),
    };
    let sources: Vec<Source> = paths.into_iter().map(source).collect();
    assert!(
        sources.iter().any(|source| source.path == "src/main.rs"),
        "the rules looked at nothing"
    );
    sources
}

fn walk(folder: &Path, paths: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("target") {
            walk(&path, paths);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            paths.push(path);
        }
    }
}

/// Fails with every break of a rule at once, unless exempt, and with exemptions that nothing needs.
#[track_caller]
fn check(breaks: &[(String, String)], exemptions: &[(&str, &str)]) {
    let exempt: BTreeSet<&str> = exemptions.iter().map(|(path, _)| *path).collect();
    let broken: BTreeSet<&str> = breaks.iter().map(|(path, _)| path.as_str()).collect();
    let mut messages: Vec<String> = breaks
        .iter()
        .filter(|(path, _)| !exempt.contains(path.as_str()))
        .map(|(path, fix)| format!("{path}: {fix}"))
        .collect();
    let unneeded = exempt
        .difference(&broken)
        .map(|path| format!("{path}: needs no exemption, remove it"));
    messages.extend(unneeded);
    assert!(messages.is_empty(), "\n{}\n", messages.join("\n"));
}

#[test]
fn every_file_begins_with_its_purpose() {
    let breaks: Vec<_> = sources()
        .into_iter()
        .filter(|source| !source.text.starts_with("//!") && !source.text.starts_with("#![doc"))
        .map(|source| {
            (
                source.path,
                "begin with `//!` and one sentence that says what the file is for".to_owned(),
            )
        })
        .collect();
    check(&breaks, &[]);
}

#[test]
fn doc_comments_have_no_open_questions() {
    let mut breaks = Vec::new();
    for source in sources() {
        for (number, line) in source.text.lines().enumerate() {
            let line = line.trim();
            let Some(text) = line
                .strip_prefix("///")
                .or_else(|| line.strip_prefix("//!"))
            else {
                continue;
            };
            let open = ["TODO", "FIXME", "XXX"]
                .iter()
                .any(|word| text.contains(word))
                || text.ends_with('?');
            if open {
                let fix = format!(
                    "line {}: answer the question, or do what is to be done",
                    number + 1
                );
                breaks.push((source.path.clone(), fix));
            }
        }
    }
    check(&breaks, &[]);
}

#[test]
fn the_map_of_the_actors_names_every_module() {
    let map = fs::read_to_string(root().join("actors/src/lib.rs")).unwrap();
    let docs: String = map.lines().filter(|line| line.starts_with("//!")).collect();
    let mut breaks = Vec::new();
    for source in sources() {
        let Some(module) = source
            .path
            .strip_prefix("actors/src/")
            .and_then(|path| path.strip_suffix(".rs"))
        else {
            continue;
        };
        let named = ["`", "[`"]
            .iter()
            .any(|quote| docs.contains(&format!("{quote}{module}`")));
        if module != "lib" && !module.contains('/') && !named {
            let fix =
                format!("name `{module}` in the docs of actors/src/lib.rs, where a poem meets it");
            breaks.push((source.path, fix));
        }
    }
    check(&breaks, &[]);
}

#[test]
fn the_halves_of_the_network_meet_in_wire_only() {
    let mut breaks = Vec::new();
    for source in sources() {
        let Some(path) = source.path.strip_prefix("actors/src/") else {
            continue;
        };
        let module = path.split(['/', '.']).next().unwrap();
        let forbidden = if SERVING.contains(&module) {
            GETTING
        } else if GETTING.contains(&module) {
            SERVING
        } else {
            continue;
        };
        for import in imports(&source.text) {
            if forbidden.contains(&import.as_str()) {
                let fix =
                    format!("imports `{import}`; put what both halves need into `wire` or `poem`");
                breaks.push((source.path.clone(), fix));
            }
        }
    }
    check(&breaks, &[]);
}

/// The first modules of every `use crate::…`, of several in braces too.
fn imports(text: &str) -> Vec<String> {
    let statements = text
        .split("use crate::")
        .skip(1)
        .filter_map(|rest| rest.split(';').next());
    let mut imports = Vec::new();
    for statement in statements {
        let inside = statement.trim().strip_prefix('{').unwrap_or(statement);
        let mut depth = 0;
        let parts = inside.split(|letter: char| {
            depth += i32::from(letter == '{') - i32::from(letter == '}');
            letter == ',' && depth == 0
        });
        let first_module = |part: &str| {
            let path = part.trim().trim_end_matches('}');
            path.split([':', ' ', '\n'])
                .next()
                .unwrap_or(path)
                .to_owned()
        };
        imports.extend(parts.map(first_module).filter(|module| !module.is_empty()));
    }
    imports
}

#[test]
fn imports_are_found_in_braces_and_over_lines() {
    let text = "use crate::wire::{self, Frame};\nuse crate::{\n    poem::{Poem, Title},\n    server,\n};\nuse crate::a as b;";
    assert_eq!(imports(text), ["wire", "poem", "server", "a"]);
}

#[test]
fn readmes_name_the_version_that_they_belong_to() {
    let version = env!("CARGO_PKG_VERSION");
    let minor = version.rsplit_once('.').map_or(version, |(minor, _)| minor);
    let mut breaks = Vec::new();
    for readme in ["README.md", "actors/README.md", "supervisors/README.md"] {
        let Ok(text) = fs::read_to_string(root().join(readme)) else {
            continue;
        };
        for marker in [
            "byron = \"",
            "byron-actors = \"",
            "byron-supervisors = \"",
            "version = \"",
        ] {
            for named in text
                .split(marker)
                .skip(1)
                .filter_map(|rest| rest.split('"').next())
            {
                if named != version && named != minor {
                    breaks.push((
                        readme.to_owned(),
                        format!("says {named}, but this is {version}; say {minor}"),
                    ));
                }
            }
        }
    }
    check(&breaks, &[]);
}

#[test]
fn every_poem_has_its_origin_and_ends_its_last_line() {
    let origins = fs::read_to_string(root().join("poetry/README.md")).unwrap();
    let mut breaks = Vec::new();
    for entry in fs::read_dir(root().join("poetry")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if !origins.contains(&format!("`{name}`")) && name != "README.md" {
            breaks.push((
                name.clone(),
                "add its poet, year and rights to poetry/README.md".to_owned(),
            ));
        }
        if !fs::read(&path).unwrap().ends_with(b"\n") {
            breaks.push((name, "end its last line with a newline".to_owned()));
        }
    }
    check(&breaks, &[]);
}

#[test]
fn the_tutorials_poems_have_the_tutorials_sizes() {
    for (poem, bytes) in [("ecstasy", 3003), ("fascination", 615), ("science", 653)] {
        let path = root().join(format!("poetry/{poem}.txt"));
        assert_eq!(
            fs::metadata(path).unwrap().len(),
            bytes,
            "{poem}: restore the text of the tutorial"
        );
    }
}

#[test]
#[should_panic(expected = "needs no exemption")]
fn an_exemption_that_matches_nothing_fails() {
    check(&[], &[("src/main.rs", "it was different once")]);
}
