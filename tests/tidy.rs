//! The rules of the house that no compiler holds: the floor plan, who owns which library, and what files look like.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package};
use model::alert::AlertKind;

/// Each package with its floor (ARCHITECTURE.md). It depends on lower floors only; peers never meet.
const FLOORS: &[(&str, u8)] = &[
    ("lockstep-model", 0),
    ("lockstep-store", 1),
    ("lockstep-broker", 1),
    ("lockstep-mail", 1),
    ("lockstep-throttle", 1),
    ("lockstep-cycle", 2),
    ("lockstep-scheduler", 3),
    ("lockstep-coordinator", 3),
    ("lockstep-worker", 3),
    ("lockstep-jobs", 3),
    ("lockstep-api", 3),
    ("lockstep", 4),
];

/// Packages that are no part of the product and may use what they like.
const OUTSIDE: &[&str] = &["lockstep-tests", "lockstep-servers", "lockstep-exchange"];

/// Every outside thing has one owner. The binary is named where it composes or serves the thing itself.
const OWNERS: &[(&str, &[&str])] = &[
    ("tokio-postgres", &["lockstep-store"]),
    ("deadpool-postgres", &["lockstep-store"]),
    ("tokio-postgres-rustls", &["lockstep-store"]),
    ("postgres-protocol", &["lockstep-store"]),
    ("refinery", &["lockstep-store"]),
    ("aes-gcm", &["lockstep-store"]),
    ("lapin", &["lockstep-broker"]),
    ("mail-parser", &["lockstep-mail"]),
    ("mail-builder", &["lockstep-mail"]),
    ("tokio-rustls", &["lockstep-mail"]),
    ("quick-xml", &["lockstep-mail"]),
    ("hyper", &["lockstep-mail"]),
    ("hyper-util", &["lockstep-mail", "lockstep-api"]),
    ("url", &["lockstep-mail"]),
    ("tonic", &["lockstep-throttle", "lockstep-coordinator"]),
    ("tonic-prost", &["lockstep-throttle"]),
    ("tonic-health", &["lockstep-coordinator"]),
    ("tonic-reflection", &["lockstep-coordinator"]),
    ("prost", &["lockstep-throttle", "lockstep-broker", "lockstep-coordinator"]),
    ("redis", &["lockstep-coordinator"]),
    ("axum", &["lockstep-api", "lockstep"]),
    ("tower-http", &["lockstep-api"]),
    ("utoipa", &["lockstep-api"]),
    ("utoipa-axum", &["lockstep-api"]),
    ("ammonia", &["lockstep-api"]),
    ("rand", &["lockstep-model"]),
    ("clap", &["lockstep"]),
    ("config", &["lockstep"]),
    ("reqwest", &["lockstep"]),
    ("prometheus", &["lockstep"]),
    ("opentelemetry-otlp", &["lockstep"]),
    ("opentelemetry-prometheus", &["lockstep"]),
    ("opentelemetry_sdk", &["lockstep"]),
    ("tracing-subscriber", &["lockstep"]),
];

/// Where the name of nobody's machine may stand.
const MACHINE_PATHS: &[&str] = &["/root/", "/home/", "/Users/", concat!("/wo", "rk/")];

#[test]
fn every_crate_depends_on_lower_floors_only() {
    let floors: BTreeMap<&str, u8> = FLOORS.iter().copied().collect();
    for package in packages() {
        let Some(own) = floors.get(package.name.as_str()) else {
            assert!(
                OUTSIDE.contains(&package.name.as_str()),
                "{} has no floor: give it one here",
                package.name
            );
            continue;
        };
        for dependency in normal_dependencies(&package) {
            let Some(floor) = floors.get(dependency.as_str()) else {
                assert!(!OUTSIDE.contains(&dependency.as_str()), "{} is built with tests", package.name);
                continue;
            };
            assert!(floor < own, "{} (floor {own}) depends on {dependency} (floor {floor})", package.name);
        }
    }
}

#[test]
fn every_outside_thing_has_one_owner() {
    let owners: BTreeMap<&str, &[&str]> = OWNERS.iter().copied().collect();
    let mut used = BTreeSet::new();
    for package in packages().iter().filter(|package| !OUTSIDE.contains(&package.name.as_str())) {
        for dependency in normal_dependencies(package) {
            let Some((name, owners)) = owners.get_key_value(dependency.as_str()) else { continue };
            used.insert(*name);
            assert!(
                owners.contains(&package.name.as_str()),
                "{} depends on {dependency}, which belongs to {}",
                package.name,
                owners.join(" and ")
            );
        }
    }
    for (name, _) in OWNERS {
        assert!(used.contains(name), "nobody uses {name}: take it out of the table");
    }
}

#[test]
fn no_crate_is_a_drawer_for_everything() {
    for package in packages() {
        for drawer in ["util", "common", "helper", "shared", "misc"] {
            assert!(!package.name.contains(drawer), "{} says nothing about what is in it", package.name);
        }
    }
}

#[test]
fn every_source_file_says_what_it_is_for() {
    for (path, text) in sources() {
        let name = path.display();
        assert!(!path.ends_with("mod.rs"), "{name}: a module `foo` lives in foo.rs");
        assert!(
            text.starts_with("//! "),
            "{name}: begin with what the file is for and what it must never do"
        );
    }
}

#[test]
fn nothing_is_left_for_later() {
    // Put together here, so that this file does not find itself.
    let words = [
        concat!("todo", "!("),
        concat!("unimplemented", "!("),
        concat!("#[", "ignore"),
        concat!("#[", "allow("),
    ];
    for (path, text) in sources() {
        for word in words {
            assert!(!text.contains(word), "{}: {word}", path.display());
        }
    }
}

#[test]
fn nothing_names_somebodys_machine() {
    for path in committed() {
        let Ok(text) = fs::read_to_string(root().join(&path)) else { continue };
        if path.ends_with("tidy.rs") {
            continue;
        }
        for (number, line) in text.lines().enumerate() {
            for machine in MACHINE_PATHS {
                assert!(!line.contains(machine), "{}:{}: {line}", path.display(), number + 1);
            }
        }
    }
}

#[test]
fn the_readme_names_the_two_commands() {
    let readme = fs::read_to_string(root().join("README.md")).expect("README.md");
    for command in ["make demo", "make test"] {
        assert!(readme.contains(command), "README.md does not say `{command}`");
    }
}

#[test]
fn every_make_target_that_is_named_exists() {
    let makefile = fs::read_to_string(root().join("Makefile")).expect("Makefile");
    let phony = makefile.lines().find_map(|line| line.strip_prefix(".PHONY:")).expect(".PHONY");
    let mut named: BTreeSet<String> = phony.split_whitespace().map(str::to_owned).collect();
    for path in committed().iter().filter(|path| path.extension().is_some_and(|extension| extension == "md"))
    {
        let text = fs::read_to_string(root().join(path)).unwrap_or_default();
        // As a command it stands in code: after a backtick, or alone on an indented line.
        for (at, _) in text.match_indices("make ") {
            let before = text[..at].rsplit('\n').next().unwrap_or_default();
            if before.ends_with('`') || (before.len() >= 4 && before.trim().is_empty()) {
                let rest = &text[at + "make ".len()..];
                let word: String = rest.chars().take_while(char::is_ascii_lowercase).collect();
                named.insert(word);
            }
        }
    }
    for target in named.iter().filter(|target| !target.is_empty()) {
        assert!(makefile.contains(&format!("\n{target}:")), "the Makefile has no target `{target}`");
    }
}

#[test]
fn every_test_that_a_document_names_exists() {
    let code: String = sources().into_iter().map(|(_, text)| text).collect();
    let mut named = 0;
    for path in committed().iter().filter(|path| path.extension().is_some_and(|extension| extension == "md"))
    {
        let text = fs::read_to_string(root().join(path)).unwrap_or_default();
        for quoted in text.split('`').skip(1).step_by(2) {
            // `file.rs: a_sentence_of_at_least_four_words`, or another of the same file alone.
            let name = quoted.rsplit(": ").next().unwrap_or_default();
            let sentence =
                name.chars().all(|one| one == '_' || one.is_ascii_lowercase() || one.is_ascii_digit());
            if sentence && name.matches('_').count() >= 5 {
                named += 1;
                assert!(
                    code.contains(&format!("fn {name}(")),
                    "{}: no test is called {name}",
                    path.display()
                );
            }
        }
    }
    assert!(named > 20, "only {named} tests are named");
}

/// Run with `LOCKSTEP_BLESS=1` to write them anew.
#[test]
fn every_kind_of_alert_has_its_page() {
    let bless = std::env::var_os("LOCKSTEP_BLESS").is_some();
    let folder = root().join("docs/alerts");
    if bless {
        fs::create_dir_all(&folder).expect("docs/alerts");
    }
    let mut expected = BTreeMap::from([("README.md".to_owned(), index())]);
    expected.extend(AlertKind::ALL.iter().map(|kind| (format!("{kind}.md"), page(*kind))));
    for (name, text) in &expected {
        let path = folder.join(name);
        if bless {
            fs::write(&path, text).expect("a page");
        }
        let found = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            found == *text,
            "docs/alerts/{name} is stale: run `LOCKSTEP_BLESS=1 cargo test -p lockstep-tests --test tidy`"
        );
    }
    for entry in fs::read_dir(&folder).expect("docs/alerts") {
        let name = entry.expect("an entry").file_name().to_string_lossy().into_owned();
        assert!(expected.contains_key(&name), "docs/alerts/{name} is about no kind of alert");
    }
}

/// The page of one kind: what an alert says, what its facts mean, and how to see it.
fn page(kind: AlertKind) -> String {
    use model::alert::{Class, Level, Scope};
    let facts = kind.facts();
    let level = match facts.level {
        Level::Error => "error: a person should act",
        Level::Warning => "warning: something is not as it should be, and Lockstep goes on trying",
        Level::Information => "information: good to know",
    };
    let scope = match facts.scope {
        Scope::Email => "one email",
        Scope::Mailbox => "one mailbox",
        Scope::Profile => "a profile: its server, for all of its mailboxes",
    };
    let class = match facts.class {
        Class::Transient => "transient: it can pass by itself",
        Class::Permanent => "permanent: it does not pass by itself",
    };
    let (happened, remedy) = (readable(facts.happened), readable(facts.remedy));
    let parameters = if happened == facts.happened && remedy == facts.remedy {
        ""
    } else {
        "\n\nWords in *italics* stand for what the alert itself names."
    };
    format!(
        "# {title}\n\n\
         | kind | level | about | class |\n| --- | --- | --- | --- |\n| `{kind}` | {level} | {scope} | {class} |\n\n\
         ## What happened\n\n{happened}\n\n\
         ## What to do\n\n{remedy}{parameters}\n\n\
         ## How to see it\n\n\
         `lockstep alert list --kind {kind}` shows it to administrators, with the server's own words where there are \
         any; users see the alerts of their own mailbox and emails. Over the API: `GET /api/v1/alerts?kind={kind}`. A \
         repeated alert counts up instead of piling up. One that passed is closed by Lockstep; `lockstep alert dismiss` \
         puts one away, and it is raised anew if its cause shows again.\n\n\
         [All kinds of alerts](README.md)\n",
        title = facts.title,
    )
}

/// The table of all kinds.
fn index() -> String {
    let mut text = "# Alerts\n\n\
        Every failure that a person may have to know of is one of these kinds. `lockstep alert list` shows the open \
        ones.\n\n| kind | what | level | about | class |\n| --- | --- | --- | --- | --- |\n"
        .to_owned();
    for kind in AlertKind::ALL {
        let facts = kind.facts();
        let _ = writeln!(
            text,
            "| [{kind}]({kind}.md) | {} | {} | {} | {} |",
            facts.title, facts.level, facts.scope, facts.class
        );
    }
    text
}

/// A sentence with its parameters, `{endpoint}`, as words.
fn readable(template: &str) -> String {
    template.replace(['{', '}'], "*")
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().expect("the project's root")
}

fn metadata() -> Metadata {
    MetadataCommand::new()
        .cargo_path(env!("CARGO"))
        .manifest_path(root().join("Cargo.toml"))
        .no_deps()
        .exec()
        .expect("cargo metadata")
}

fn packages() -> Vec<Package> {
    metadata().packages
}

/// What the package is made of; what it is tested or built with is its own affair.
fn normal_dependencies(package: &Package) -> Vec<String> {
    let normal = package.dependencies.iter().filter(|dependency| dependency.kind == DependencyKind::Normal);
    normal.map(|dependency| dependency.name.clone()).collect()
}

/// The files of the project as Git lists them: committed, or about to be.
fn committed() -> Vec<PathBuf> {
    let output = std::process::Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard", "-z"])
        .current_dir(root())
        .output();
    let listed = output.ok().filter(|output| output.status.success() && !output.stdout.is_empty());
    match listed {
        Some(output) => String::from_utf8_lossy(&output.stdout)
            .split('\0')
            .filter(|name| !name.is_empty() && root().join(name).is_file())
            .map(PathBuf::from)
            .collect(),
        // A checkout without Git, such as an unpacked archive: whatever is there.
        None => walked(&root()),
    }
}

fn walked(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        if name.to_string_lossy().starts_with('.') || name == "target" {
            continue;
        }
        if path.is_dir() {
            files.extend(walked(&path));
        } else if let Ok(path) = path.strip_prefix(root()) {
            files.push(path.to_owned());
        }
    }
    files
}

/// Every Rust file of the project with its text.
fn sources() -> Vec<(PathBuf, String)> {
    let rust =
        committed().into_iter().filter(|path| path.extension().is_some_and(|extension| extension == "rs"));
    rust.filter_map(|path| Some((path.clone(), fs::read_to_string(root().join(&path)).ok()?))).collect()
}
