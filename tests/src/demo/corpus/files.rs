//! Attachments that open: a PDF of one page, a PNG and a CSV, each small and each different.

use std::fmt::Write as _;

use super::chance::Chance;

/// A page with lines of text (ISO 32000-1, with a cross-reference table that is right to the byte).
pub(super) fn pdf(lines: &[String]) -> Vec<u8> {
    let text = lines.iter().fold(String::new(), |mut text, line| {
        let line = line.replace('\\', "\\\\").replace('(', "\\(").replace(')', "\\)");
        let _ = writeln!(text, "({line}) Tj T*");
        text
    });
    let stream = format!("BT /F1 12 Tf 16 TL 60 780 Td\n{text}ET\n");
    let objects = [
        "<< /Type /Catalog /Pages 2 0 R >>".to_owned(),
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>".to_owned(),
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R\n\
         /Resources << /Font << /F1 5 0 R >> >> >>"
            .to_owned(),
        format!("<< /Length {} >>\nstream\n{stream}endstream", stream.len()),
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>".to_owned(),
    ];
    let mut file = "%PDF-1.4\n".to_owned();
    let mut table = "0000000000 65535 f \n".to_owned();
    for (number, object) in objects.iter().enumerate() {
        let _ = writeln!(table, "{:010} 00000 n ", file.len());
        let _ = writeln!(file, "{} 0 obj\n{object}\nendobj", number + 1);
    }
    let (start, size) = (file.len(), objects.len() + 1);
    let _ = write!(
        file,
        "xref\n0 {size}\n{table}trailer\n<< /Size {size} /Root 1 0 R >>\nstartxref\n{start}\n%%EOF\n"
    );
    file.into_bytes()
}

/// A table as accounting programs export it.
pub(super) fn csv(chance: &mut Chance) -> Vec<u8> {
    let mut table = "position;article;quantity;price;total\r\n".to_owned();
    for position in 1..=chance.between(6, 60) {
        let (quantity, cents) = (chance.between(1, 40), chance.between(900, 250_000));
        let money = |cents: i64| format!("{}.{:02}", cents / 100, cents % 100);
        let (article, price, total) = (chance.between(10_000, 99_999), money(cents), money(cents * quantity));
        let _ = write!(table, "{position};A-{article};{quantity};{price};{total}\r\n");
    }
    table.into_bytes()
}

/// Bars of two colours on white (PNG, third edition: palette, no filter, stored rather than compressed).
pub(super) fn png(chance: &mut Chance, width: u32, height: u32) -> Vec<u8> {
    let mut palette = vec![255, 255, 255];
    palette.extend((0..6).map(|_| chance.next().to_le_bytes()[0] & 0xbf));
    let bars: Vec<u32> =
        (0..width / 8).map(|_| u32::try_from(chance.between(0, height.into())).unwrap_or(0)).collect();
    let mut pixels = Vec::new();
    for row in 0..height {
        pixels.push(0);
        pixels.extend((0..width).map(|column| {
            let filled =
                bars.get((column / 8) as usize).is_some_and(|bar| column % 8 < 6 && height - row <= *bar);
            if filled { 1 + u8::from((column / 8).is_multiple_of(2)) } else { 0 }
        }));
    }
    let mut head = Vec::new();
    head.extend(width.to_be_bytes());
    head.extend(height.to_be_bytes());
    head.extend([8, 3, 0, 0, 0]);
    let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
    for (kind, data) in
        [(b"IHDR", head), (b"PLTE", palette), (b"IDAT", stored(&pixels)), (b"IEND", Vec::new())]
    {
        file.extend(u32::try_from(data.len()).unwrap_or(0).to_be_bytes());
        let data = [kind.as_slice(), &data].concat();
        file.extend(&data);
        file.extend(crc32(&data).to_be_bytes());
    }
    file
}

/// The zlib form of bytes that are not compressed (RFC 1950, RFC 1951 section 3.2.4).
fn stored(bytes: &[u8]) -> Vec<u8> {
    let mut zlib = vec![0x78, 0x01];
    let mut blocks = bytes.chunks(0xffff).peekable();
    while let Some(block) = blocks.next() {
        let length = u16::try_from(block.len()).unwrap_or(0);
        zlib.push(u8::from(blocks.peek().is_none()));
        zlib.extend(length.to_le_bytes());
        zlib.extend((!length).to_le_bytes());
        zlib.extend(block);
    }
    let (mut low, mut high) = (1_u32, 0_u32);
    for byte in bytes {
        low = (low + u32::from(*byte)) % 65_521;
        high = (high + low) % 65_521;
    }
    zlib.extend((high << 16 | low).to_be_bytes());
    zlib
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(
            crc ^ u32::from(*byte),
            |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 },
        )
    })
}
