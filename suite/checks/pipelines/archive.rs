//! A file in an archive: what people upload who keep more beside their pipeline. Nothing of it depends on time or place, so
//! that a replay sends the same bytes.

use std::io::Write;

use flate2::{Compression, Crc, GzBuilder};

use crate::outcome::{CouldNotRun, Outcome, Stop};

/// A zip archive of one file, which is stored as it is.
pub(super) fn zip(name: &str, content: &[u8]) -> Outcome<Vec<u8>> {
    let size = |length: usize| {
        u32::try_from(length).map_err(|e| Stop::CouldNotRun(CouldNotRun::Defect, e.to_string()))
    };
    let mut crc = Crc::new();
    crc.update(content);
    // What the header of the file and the directory's entry for it share: version 2.0, no flags, stored, 1980-01-01.
    let mut common = vec![20, 0, 0, 0, 0, 0, 0, 0, 0x21, 0];
    common.extend(crc.sum().to_le_bytes());
    common.extend(size(content.len())?.to_le_bytes());
    common.extend(size(content.len())?.to_le_bytes());
    common.extend(size(name.len())?.to_le_bytes());
    let mut archive = b"PK\x03\x04".to_vec();
    archive.extend(&common);
    archive.extend(name.as_bytes());
    archive.extend(content);
    let directory = archive.len();
    archive.extend(b"PK\x01\x02\x14\x00");
    archive.extend(&common);
    // No comment, the first disk, no attributes, at the beginning.
    archive.extend([0; 14]);
    archive.extend(name.as_bytes());
    let end = archive.len();
    archive.extend(b"PK\x05\x06\x00\x00\x00\x00\x01\x00\x01\x00");
    archive.extend(size(end - directory)?.to_le_bytes());
    archive.extend(size(directory)?.to_le_bytes());
    archive.extend([0, 0]);
    Ok(archive)
}

/// A tar archive of one file, compressed by gzip.
pub(super) fn tarball(name: &str, content: &[u8]) -> Outcome<Vec<u8>> {
    let pack = || -> std::io::Result<Vec<u8>> {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        let mut tar = tar::Builder::new(Vec::new());
        tar.append_data(&mut header, name, content)?;
        let mut gzip = GzBuilder::new()
            .mtime(0)
            .write(Vec::new(), Compression::default());
        gzip.write_all(&tar.into_inner()?)?;
        gzip.finish()
    };
    pack().map_err(|e| Stop::CouldNotRun(CouldNotRun::Defect, e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn a_tarball_holds_the_file_and_is_always_the_same() {
        let made = tarball("a.yaml", b"a: b").unwrap();
        assert_eq!(made, tarball("a.yaml", b"a: b").unwrap());
        let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(made.as_slice()));
        let mut entry = archive.entries().unwrap().next().unwrap().unwrap();
        assert_eq!(entry.path().unwrap().to_str(), Some("a.yaml"));
        let mut text = String::new();
        entry.read_to_string(&mut text).unwrap();
        assert_eq!(text, "a: b");
    }

    #[test]
    fn a_zip_has_its_parts_where_it_says() {
        let made = zip("a.yaml", b"a: b").unwrap();
        let at =
            |from: usize| u32::from_le_bytes(made[from..from + 4].try_into().unwrap()) as usize;
        let end = made.len() - 22;
        assert_eq!(&made[end..end + 4], b"PK\x05\x06");
        let (length, directory) = (at(end + 12), at(end + 16));
        assert_eq!(directory + length, end);
        assert_eq!(&made[directory..directory + 4], b"PK\x01\x02");
        // The checksum of `a: b`, and where its header begins.
        assert_eq!(at(directory + 16), 0xbd1a_0bea_usize);
        assert_eq!(at(directory + 42), 0);
        assert_eq!(&made[30..36], b"a.yaml");
        assert_eq!(&made[36..40], b"a: b");
    }
}
