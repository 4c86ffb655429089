//! The upload endpoints: multipart files, and errors of a shape of their own.

use std::io::Read;

use http::StatusCode;
use serde_json::{Map, Value};

use super::{
    Server,
    model::{Pipeline, Version},
    refusal::Reply,
    template,
};

/// The file of an archive that is taken for the pipeline.
const PIPELINE_FILE: &str = "pipeline.yaml";
/// The largest file of an archive, in bytes.
const LARGEST: u64 = 32 << 20;

/// A file of a multipart body.
#[derive(Debug, PartialEq)]
struct File<'b> {
    name: String,
    bytes: &'b [u8],
}

/// The extensions of what is read as it is; all else must be an archive.
const EXTENSIONS: [&str; 3] = [".yaml", ".yml", ".json"];

/// A refusal as these endpoints word it.
pub(super) fn refused(status: StatusCode, message: impl Into<String>, json: bool) -> Reply {
    Reply::Upload {
        status,
        message: message.into(),
        json,
    }
}

/// The part `uploadfile` of a multipart body.
fn file<'b>(content_type: &str, body: &'b [u8]) -> Option<File<'b>> {
    let boundary = content_type
        .split("boundary=")
        .nth(1)?
        .split(';')
        .next()?
        .trim()
        .trim_matches('"');
    let mark = format!("--{boundary}").into_bytes();
    let find = |from: &[u8], what: &[u8]| from.windows(what.len().max(1)).position(|w| w == what);
    let mut rest = &body[find(body, &mark)? + mark.len()..];
    loop {
        let end = find(rest, &mark)?;
        let part = rest[..end].strip_prefix(b"\r\n")?;
        let split = find(part, b"\r\n\r\n")?;
        let head = std::str::from_utf8(&part[..split]).ok()?;
        let bytes = part[split + 4..].strip_suffix(b"\r\n")?;
        let value = |key: &str| {
            let text = head.split(&format!("{key}=\"")).nth(1)?;
            text.split('"').next().map(ToOwned::to_owned)
        };
        // `name=` is the end of `filename=` too, which comes after it.
        if head.contains("; name=\"uploadfile\"") {
            return Some(File {
                name: value("filename").unwrap_or_default(),
                bytes,
            });
        }
        rest = &rest[end + mark.len()..];
    }
}

/// The file `pipeline.yaml` of a compressed tar archive, or the first one.
fn untar(bytes: &[u8]) -> Option<Vec<u8>> {
    let read = || -> std::io::Result<Option<Vec<u8>>> {
        let gzip = flate2::read::GzDecoder::new(bytes).take(LARGEST);
        let mut found = None;
        for entry in tar::Archive::new(gzip).entries()? {
            let mut entry = entry?;
            let is_it = entry.path()?.as_os_str() == PIPELINE_FILE;
            if is_it || found.is_none() {
                let mut content = Vec::new();
                entry.read_to_end(&mut content)?;
                found = Some(content);
            }
            if is_it {
                break;
            }
        }
        Ok(found)
    };
    read().ok().flatten()
}

/// The file `pipeline.yaml` of a zip archive, or the first one; stored or deflated, with its size before it.
fn unzip(bytes: &[u8]) -> Option<Vec<u8>> {
    let number = |from: usize, length: usize| {
        let part = bytes.get(from..from + length)?;
        let part = part.iter().rev().map(|byte| usize::from(*byte));
        Some(part.fold(0, |all, byte| all << 8 | byte))
    };
    let mut found = None;
    let mut at = 0;
    while bytes.get(at..at + 4) == Some(b"PK\x03\x04") {
        let (method, size) = (number(at + 8, 2)?, number(at + 18, 4)?);
        let (name, extra) = (number(at + 26, 2)?, number(at + 28, 2)?);
        let begin = at + 30 + name + extra;
        let is_it = bytes.get(at + 30..at + 30 + name)? == PIPELINE_FILE.as_bytes();
        let packed = bytes.get(begin..begin + size)?;
        if is_it || found.is_none() {
            let mut content = Vec::new();
            match method {
                0 => content.extend(packed),
                8 => {
                    let inflated = flate2::read::DeflateDecoder::new(packed).take(LARGEST);
                    { inflated }.read_to_end(&mut content).ok()?;
                }
                _ => return None,
            }
            found = Some(content);
        }
        if is_it {
            break;
        }
        at = begin + size;
    }
    found
}

impl Server {
    /// What is in an archive.
    fn unpack(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        match bytes {
            [b'P', b'K', ..] if !self.broken("pipeline/is-uploaded-as-zip") => unzip(bytes),
            [0x1f, 0x8b, ..] if !self.broken("pipeline/is-uploaded-as-tarball") => untar(bytes),
            _ => None,
        }
    }

    /// `POST /pipelines/upload` and `/pipelines/upload_version`.
    pub(super) fn upload(
        &self,
        is_version: bool,
        query: &Map<String, Value>,
        content_type: &str,
        body: &[u8],
    ) -> Reply {
        let bad = StatusCode::BAD_REQUEST;
        let pair = |key: &str| {
            query
                .get(key)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        let Some(file) = file(content_type, body) else {
            return refused(bad, "Failed to read pipeline from file", false);
        };
        let is_plain = EXTENSIONS.iter().any(|end| file.name.ends_with(end));
        let unpacked = if is_plain {
            Some(file.bytes.to_vec())
        } else {
            self.unpack(file.bytes)
        };
        let Some(content) = unpacked else {
            return refused(bad, "Failed to read a pipeline spec file", false);
        };
        let name = Some(pair("name"))
            .filter(|n| !n.is_empty())
            .unwrap_or_else(|| file.name.clone());
        let display_name = Some(pair("display_name"))
            .filter(|n| !n.is_empty())
            .unwrap_or_else(|| name.clone());
        if name.len() > 128 {
            return Reply::Text(
                bad,
                "Invalid input error: Pipeline.Name length cannot exceed 128\n".to_owned(),
            );
        }
        let failed = if is_version {
            "Failed to create a pipeline version"
        } else {
            "Failed to create a pipeline and a pipeline version"
        };
        if content.is_empty() {
            return refused(StatusCode::INTERNAL_SERVER_ERROR, failed, true);
        }
        let lenient = self.broken("pipeline/refuses-what-is-no-pipeline");
        let mut spec = match template::parse(&String::from_utf8_lossy(&content)) {
            Ok(spec) => spec,
            Err(_) if lenient => Value::Null,
            Err(why) => return refused(bad, why, true),
        };
        let flag = spec.pointer_mut("/root/inputDefinitions/parameters/flag");
        if let Some(Value::Object(flag)) = flag
            && is_plain
            && self.broken("pipeline/keeps-what-was-uploaded")
        {
            flag.shift_remove("defaultValue");
        }
        let version = Version {
            pipeline: pair("pipelineid"),
            name: name.clone(),
            display_name: display_name.clone(),
            description: pair("description"),
            spec,
            ..Version::default()
        };
        if is_version {
            return match self.add_version(version) {
                Ok(id) => self
                    .get_version(&id)
                    .map_or_else(Reply::Refused, Reply::Json),
                Err(refusal) if refusal.status() == StatusCode::CONFLICT => {
                    refused(StatusCode::CONFLICT, failed, true)
                }
                Err(_) => refused(bad, failed, true),
            };
        }
        let pipeline = Pipeline {
            name,
            display_name,
            description: pair("description"),
            namespace: if self.multi_user {
                pair("namespace")
            } else {
                String::new()
            },
            ..Pipeline::default()
        };
        let made = self.add_pipeline(pipeline).and_then(|id| {
            self.add_version(Version {
                pipeline: id.clone(),
                ..version
            })?;
            self.get_pipeline(&id)
        });
        match made {
            Ok(pipeline) => Reply::Json(pipeline),
            Err(refusal) => refused(refusal.status(), failed, true),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_found_among_the_parts() {
        let body = b"--x\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n--x\r\nContent-Disposition: form-data; \
            name=\"uploadfile\"; filename=\"p.yaml\"\r\nContent-Type: text/plain\r\n\r\nb: 2\n\r\n--x--\r\n";
        let found = file("multipart/form-data; boundary=x", body).unwrap();
        assert_eq!(
            (found.name.as_str(), found.bytes),
            ("p.yaml", &b"b: 2\n"[..])
        );
        for (content_type, body) in [
            ("multipart/form-data; boundary=x", &b"--x--\r\n"[..]),
            ("multipart/form-data; boundary=y", body),
            ("text/plain", body),
            (
                "multipart/form-data; boundary=x",
                b"--x\r\nContent-Disposition: form-data; name=\"uploadfile\"",
            ),
        ] {
            assert_eq!(file(content_type, body), None);
        }
    }
}
