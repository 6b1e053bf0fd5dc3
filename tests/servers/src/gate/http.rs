//! Requests of HTTP/1.1 as a gate counts them: a head and its body, as long as the head says or in chunks (RFC 9112 sections
//! 6 and 7). What is in them passes as it is.

use std::io;

use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, BufReader};

/// A head that is longer is no request of a test.
const HEAD: usize = 64 * 1024;

/// One request, as it came.
pub(super) struct Request {
    pub(super) bytes: Vec<u8>,
    /// What a test may see of it: its line, the operation that its body names, and whether it signs in.
    pub(super) spoken: String,
}

/// The next request; none when the client has ended.
pub(super) async fn next<R: AsyncRead + Unpin>(from: &mut BufReader<R>) -> io::Result<Option<Request>> {
    let mut bytes = Vec::new();
    loop {
        let before = bytes.len();
        if from.read_until(b'\n', &mut bytes).await? == 0 {
            return Ok(None);
        }
        if bytes.len() > HEAD {
            return Err(io::Error::other("a head without an end"));
        }
        if before > 0 && bytes[before..] == *b"\r\n" {
            break;
        }
    }
    let head = String::from_utf8_lossy(&bytes).into_owned();
    let header = |name: &str| {
        head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim().to_ascii_lowercase())
        })
    };
    let begin = bytes.len();
    if header("transfer-encoding").is_some_and(|coding| coding.ends_with("chunked")) {
        chunks(from, &mut bytes).await?;
    } else if let Some(length) = header("content-length").and_then(|length| length.parse().ok()) {
        let mut body = from.take(length);
        body.read_to_end(&mut bytes).await?;
    }
    let mut spoken = head.lines().next().unwrap_or_default().trim_end_matches(" HTTP/1.1").to_owned();
    if let Some(operation) = operation(&bytes[begin..]) {
        spoken.push(' ');
        spoken.push_str(&operation);
    }
    if header("authorization").is_some() {
        spoken.push_str(" Authorization …");
    }
    Ok(Some(Request { bytes, spoken }))
}

async fn chunks<R: AsyncRead + Unpin>(from: &mut BufReader<R>, bytes: &mut Vec<u8>) -> io::Result<()> {
    loop {
        let before = bytes.len();
        from.read_until(b'\n', bytes).await?;
        let line = String::from_utf8_lossy(&bytes[before..]).into_owned();
        let size = line.split(';').next().unwrap_or_default().trim();
        let size = u64::from_str_radix(size, 16).map_err(io::Error::other)?;
        // A chunk ends with a line end; the last one is followed by trailers, of which there are none.
        from.take(size + 2).read_to_end(bytes).await?;
        if size == 0 {
            return Ok(());
        }
    }
}

/// The first element within the body of a SOAP envelope, in the first kilobytes of a request.
fn operation(body: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(&body[..body.len().min(16 * 1024)]).into_owned();
    let inner = text.split_once(":Body").or_else(|| text.split_once("<Body"))?.1.split_once('>')?.1;
    let name = inner.trim_start().strip_prefix('<')?;
    let name = name.split(|letter: char| letter.is_whitespace() || matches!(letter, '>' | '/')).next()?;
    Some(name.rsplit(':').next().unwrap_or(name).to_owned())
}
