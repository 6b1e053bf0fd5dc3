//! The binary under test: built once for each test process, as `make test` builds it, so that it is never a stale one.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

static BINARY: OnceLock<PathBuf> = OnceLock::new();

/// The path of `lockstep`, built when it is not up to date.
///
/// # Panics
/// When it cannot be built, with the compiler's words.
pub fn lockstep() -> &'static Path {
    BINARY.get_or_init(build)
}

fn build() -> PathBuf {
    // A test lies in TARGET/PROFILE/deps, a program in TARGET/PROFILE.
    let own = std::env::current_exe().expect("the path of this program");
    let folder = own.parent().filter(|folder| !folder.ends_with("deps")).or(own.ancestors().nth(2));
    let folder = folder.expect("a program lies in a folder");
    let path = folder.join("lockstep");
    if std::env::var_os("LOCKSTEP_NO_BUILD").is_some() {
        return path;
    }
    // The features that packages are built with depend on which are built together: this is the command of the
    // Makefile, so that nothing is built twice.
    let mut command = Command::new(env!("CARGO"));
    command.args(["build", "--quiet", "--locked", "--workspace", "--bin", "lockstep", "--target-dir"]);
    command.arg(folder.parent().expect("a profile lies in the target folder"));
    command.arg("--manifest-path").arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml"));
    if folder.ends_with("release") {
        command.arg("--release");
    }
    let output = command.output().expect("cargo runs");
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "`lockstep` cannot be built:\n{words}");
    path
}
