//! The way to a runner: HTTP through a port-forward, made again where it breaks.

use std::{path::Path, time::Duration};

use tokio::io::AsyncWriteExt;

use super::{
    Api, LaunchError,
    wire::{self, PORT, Report},
};
use crate::{cluster::tunnel::Tunnel, engine::Event};

/// How long an answer may take that is no stream.
const ANSWER: Duration = Duration::from_secs(30);
/// The largest report, in bytes.
const MAX_REPORT: usize = 1 << 20;

/// A way that is open, as far as anybody knows.
pub(super) struct Link {
    tunnel: Tunnel,
    http: reqwest::Client,
}

/// Why a way is not open, or not any more: nothing that the runner said.
#[derive(Debug)]
pub(super) struct Cut(pub(super) String);

impl Link {
    /// Opens the way to a pod. Nothing is sent yet.
    pub(super) async fn open(api: &Api, namespace: &str, pod: &str) -> Result<Self, Cut> {
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(Duration::from_secs(10))
            // Each connection is a port-forward; one that broke is not to be met again.
            .pool_max_idle_per_host(0)
            .build()
            .map_err(|e| Cut(e.to_string()))?;
        let tunnel = Tunnel::open(api.client(), namespace, pod, PORT)
            .await
            .map_err(|e| Cut(format!("no local port: {e}")))?;
        Ok(Self { tunnel, http })
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.tunnel.address)
    }

    /// Why a request had no answer.
    fn cut(&self, error: &reqwest::Error) -> Cut {
        Cut(match self.tunnel.trouble() {
            Some(why) => why.to_string(),
            None => error.to_string(),
        })
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Result<reqwest::Response, Cut> {
        match tokio::time::timeout(ANSWER, request.send()).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(self.cut(&error)),
            Err(_) => Err(Cut(format!("no answer within {} s", ANSWER.as_secs()))),
        }
    }

    /// How it is with the runner.
    pub(super) async fn report(&self) -> Result<Report, Cut> {
        let mut answer = self.send(self.http.get(self.url("/status"))).await?;
        let mut bytes = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|e| self.cut(&e))? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() > MAX_REPORT {
                return Err(Cut("the report is too large".to_owned()));
            }
        }
        serde_json::from_slice(&bytes).map_err(|e| Cut(format!("no report: {e}")))
    }

    /// Tells the runner something.
    pub(super) async fn post(&self, path: &str) -> Result<(), Cut> {
        self.send(self.http.post(self.url(path))).await.map(drop)
    }

    /// Hears the events from number `next` on, until there are no more. `next` is where to go on after a break.
    pub(super) async fn events(
        &self,
        next: &mut usize,
        mut hear: impl FnMut(Event),
    ) -> Result<(), Cut> {
        let mut answer = self
            .send(self.http.get(self.url(&format!("/events?from={next}"))))
            .await?;
        let mut buffer: Vec<u8> = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|e| self.cut(&e))? {
            if (buffer.len() + chunk.len()) as u64 > wire::LARGEST {
                return Err(Cut("an event is too large".to_owned()));
            }
            buffer.extend_from_slice(&chunk);
            let Some(end) = buffer.iter().rposition(|byte| *byte == b'\n') else {
                continue;
            };
            let rest = buffer.split_off(end + 1);
            let lines = std::mem::replace(&mut buffer, rest);
            for line in lines
                .split(|byte| *byte == b'\n')
                .filter(|line| !line.is_empty())
            {
                *next += 1;
                // What another version says that this one does not know is no event for it.
                if let Ok(event) = serde_json::from_slice(line) {
                    hear(event);
                }
            }
        }
        Ok(())
    }

    /// Fetches a file, from where an earlier attempt came to on.
    pub(super) async fn fetch(&self, file: &wire::File, to: &Path) -> Result<(), FetchError> {
        let write = |error: std::io::Error| {
            FetchError::Other(LaunchError::Write {
                path: to.display().to_string(),
                error,
            })
        };
        let mut have = match tokio::fs::metadata(to).await {
            Ok(meta) if meta.is_file() && meta.len() <= file.size => meta.len(),
            _ => 0,
        };
        if have > 0 && have == file.size && digest(to).map_err(write)? == file.sha256 {
            return Ok(());
        }
        if have == file.size {
            have = 0;
        }
        let mut options = tokio::fs::OpenOptions::new();
        options.create(true).write(true);
        if have == 0 {
            options.truncate(true);
        } else {
            options.append(true);
        }
        let mut out = options.open(to).await.map_err(write)?;
        let request = self
            .http
            .get(self.url(&format!("/files/{}", file.name)))
            .header("range", format!("bytes={have}-"));
        let mut answer = self.send(request).await.map_err(FetchError::Cut)?;
        if !answer.status().is_success() {
            return Err(FetchError::Cut(Cut(format!(
                "the runner answers {} for {}",
                answer.status(),
                file.name
            ))));
        }
        while let Some(chunk) = answer
            .chunk()
            .await
            .map_err(|e| FetchError::Cut(self.cut(&e)))?
        {
            have += chunk.len() as u64;
            if have > file.size {
                break;
            }
            out.write_all(&chunk).await.map_err(write)?;
        }
        out.flush().await.map_err(write)?;
        drop(out);
        if have < file.size {
            return Err(FetchError::Cut(Cut(format!("{} was cut off", file.name))));
        }
        let is = digest(to).map_err(write)?;
        if is == file.sha256 {
            return Ok(());
        }
        drop(tokio::fs::remove_file(to).await);
        Err(FetchError::Other(LaunchError::Digest {
            path: to.display().to_string(),
            is,
            wanted: file.sha256.clone(),
        }))
    }
}

/// Why a file is not there.
#[derive(Debug)]
pub(super) enum FetchError {
    /// The way broke; what arrived stays.
    Cut(Cut),
    /// Trying again does not help.
    Other(LaunchError),
}

fn digest(path: &Path) -> std::io::Result<String> {
    Ok(crate::digest::sha256(std::fs::read(path)?))
}
