//! Mailboxes on disk: read when a server starts, and written anew, whole, soon after something changed. Passwords, faults and
//! what was counted are never kept.

use std::fs;
use std::io::{BufReader, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::mailbox::Mailbox;
use crate::state::State;

/// How soon after a change it is written.
const SOON: Duration = Duration::from_millis(200);

/// What is on disk.
#[derive(Deserialize, Serialize)]
pub(crate) struct Kept {
    pub(crate) mailboxes: Vec<Mailbox>,
    pub(crate) sequence: u64,
}

/// What a file holds; nothing where there is none yet.
pub(crate) fn read(file: &Path) -> Result<Option<Kept>, Error> {
    let doing = || format!("cannot read the mailboxes in {}", file.display());
    match fs::File::open(file) {
        Ok(open) => {
            let kept = ciborium::from_reader(BufReader::new(open));
            kept.map(Some).map_err(|error| Error::other(doing(), error))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io(doing())(error)),
    }
}

/// Writes everything to a file of its own, which then takes the place of the other: whoever dies in between loses only the
/// last changes.
pub(crate) fn write(file: &Path, kept: &Kept) -> Result<(), Error> {
    let doing = || format!("cannot write the mailboxes to {}", file.display());
    let beside = file.with_extension("new");
    let mut open = BufWriter::new(fs::File::create(&beside).map_err(Error::io(doing()))?);
    ciborium::into_writer(kept, &mut open).map_err(|error| Error::other(doing(), error))?;
    open.flush().map_err(Error::io(doing()))?;
    fs::rename(&beside, file).map_err(Error::io(doing()))
}

/// Writes what is not written yet; says up to where it is written now.
pub(crate) fn save(state: &Mutex<State>, file: &Path, written: u64) -> Result<u64, Error> {
    let kept = {
        let state = state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.sequence() == written {
            return Ok(written);
        }
        Kept { mailboxes: state.mailboxes.clone(), sequence: state.sequence() }
    };
    write(file, &kept)?;
    Ok(kept.sequence)
}

/// Saves until the server ends what happened after it was read.
#[expect(clippy::print_stderr, reason = "who started it learns that nothing is kept")]
pub(crate) async fn keep(state: &Mutex<State>, file: Option<PathBuf>, mut written: u64) {
    let Some(file) = file else { return std::future::pending().await };
    loop {
        tokio::time::sleep(SOON).await;
        match save(state, &file, written) {
            Ok(now) => written = now,
            Err(error) => eprintln!("{error}"),
        }
    }
}

/// Contents, as bytes instead of as a list of numbers.
pub(crate) mod bytes {
    use std::sync::Arc;

    use serde::{Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(bytes: &Arc<[u8]>, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_bytes(bytes)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Arc<[u8]>, D::Error> {
        Ok(serde_bytes::deserialize::<Vec<u8>, D>(from)?.into())
    }
}

/// The same where there may be none.
pub(crate) mod some_bytes {
    use std::sync::Arc;

    use serde::{Deserializer, Serializer};

    #[expect(clippy::ref_option, reason = "serde gives a field as it is")]
    pub(crate) fn serialize<S: Serializer>(bytes: &Option<Arc<[u8]>>, to: S) -> Result<S::Ok, S::Error> {
        serde_bytes::serialize(&bytes.as_deref(), to)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Arc<[u8]>>, D::Error> {
        Ok(serde_bytes::deserialize::<Option<Vec<u8>>, D>(from)?.map(Into::into))
    }
}
