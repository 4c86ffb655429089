//! Brings a launch's result here: file by file, from where an earlier attempt came to on, and nothing that is not whole.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::time::Instant;

use super::{
    Launch, LaunchError, Launcher,
    link::{Cut, FetchError, Link},
    objects, partial,
    start::{Seen, lost, over},
    wire::{FILES, Phase, Report},
};
use crate::{
    cluster::kinds::POD,
    engine,
    outcome::shorten,
    report::{
        self,
        model::{self, Results},
        text::one_line,
    },
    spec::Specs,
};

/// How long a way that breaks is tried again.
const PATIENCE: Duration = Duration::from_secs(300);

/// Where a part's result is.
struct Place {
    pod: String,
    report: Report,
}

impl Launcher {
    /// Retrieves the result into the folder `out`, which is not there yet. Unless `keep` says so, the runner is told that it
    /// need not wait any more.
    pub async fn retrieve(
        &self,
        launch: &Launch,
        out: &Path,
        keep: bool,
    ) -> Result<Results, LaunchError> {
        let on_its_way = partial(out);
        let write = |path: &Path| {
            let path = path.display().to_string();
            move |error: std::io::Error| LaunchError::Write { path, error }
        };
        std::fs::create_dir_all(&on_its_way).map_err(write(&on_its_way))?;
        let mut folders = Vec::new();
        let mut places = Vec::new();
        let mut missing = Vec::new();
        for part in 0..launch.parts {
            let place = match self.place(launch, part).await {
                Ok(place) => place,
                // What the other parts found is worth having.
                Err(error @ (LaunchError::Lost { .. } | LaunchError::Broken { .. }))
                    if launch.parts > 1 =>
                {
                    self.says(format!("part {part}: {error}"));
                    missing.push(error);
                    continue;
                }
                Err(error) => return Err(error),
            };
            let folder = if launch.parts > 1 {
                on_its_way.join(format!("part-{part}"))
            } else {
                on_its_way.join("whole")
            };
            std::fs::create_dir_all(&folder).map_err(write(&folder))?;
            self.fetch(launch, part, &place, &folder).await?;
            folders.push(folder);
            places.push(place);
        }
        if folders.is_empty()
            && let Some(error) = missing.pop()
        {
            return Err(error);
        }
        let results = Self::assemble(launch, &folders, out)?;
        std::fs::remove_dir_all(&on_its_way).map_err(write(&on_its_way))?;
        for place in &places {
            if !keep && let Ok(link) = Link::open(&self.api, &launch.namespace, &place.pod).await {
                // It ends by itself sooner or later.
                drop(link.post("/retrieved").await);
            }
        }
        self.no_readers(launch).await?;
        Ok(results)
    }

    /// Puts the result together and in its place.
    fn assemble(launch: &Launch, folders: &[PathBuf], out: &Path) -> Result<Results, LaunchError> {
        let write = |path: &Path| {
            let path = path.display().to_string();
            move |error: std::io::Error| LaunchError::Write { path, error }
        };
        // An empty folder is as good as none.
        drop(std::fs::remove_dir(out));
        if out.exists() {
            return Err(LaunchError::Usage(format!(
                "{} is there already; give another folder with --out",
                out.display()
            )));
        }
        if launch.parts > 1 {
            let whole = partial(out).join("whole");
            let results = engine::merge(folders, launch.parts, &whole)?;
            // A launch is of the embedded requirements: those of the runner's image.
            report::write_beside(&results, Specs::embedded(), &whole).map_err(write(out))?;
            std::fs::rename(&whole, out).map_err(write(out))?;
            return Ok(results);
        }
        let whole = &folders[0];
        let results =
            Results::read(&whole.join(model::RESULTS_FILE)).map_err(|e| LaunchError::Protocol {
                id: launch.id.clone(),
                why: e.to_string(),
            })?;
        std::fs::rename(whole, out).map_err(write(out))?;
        Ok(results)
    }

    /// Where the result of a part is: in the runner's pod, or on a claim that another pod shows.
    async fn place(&self, launch: &Launch, part: u32) -> Result<Place, LaunchError> {
        let began = Instant::now();
        let mut told = false;
        loop {
            let why = match self.seen(launch, part).await? {
                Seen::Running(pod) => match self.report_of(launch, &pod).await {
                    Ok(report) if report.phase == Phase::Running => {
                        return Err(LaunchError::NotOver {
                            id: launch.id.clone(),
                            done: report.done,
                            total: report.total,
                        });
                    }
                    Ok(report) => {
                        over(&report)?;
                        return Ok(Place { pod, report });
                    }
                    Err(why) => why,
                },
                Seen::Ended(code, words) => {
                    if launch.claim.is_none() || code == 2 {
                        lost(launch, code, &words)?;
                    }
                    let pod = self.reader(launch, part).await?;
                    match self.report_of(launch, &pod).await {
                        Ok(report) => {
                            over(&report)?;
                            return Ok(Place { pod, report });
                        }
                        Err(why) => why,
                    }
                }
                Seen::Waiting(Some((problem, message))) => {
                    Cut(format!("{}: {message}", problem.code()))
                }
                Seen::Waiting(None) => Cut("the runner has not started yet".to_owned()),
            };
            self.again(began, &mut told, &why).await?;
        }
    }

    /// Waits before the next attempt, as long as patience lasts.
    async fn again(&self, began: Instant, told: &mut bool, why: &Cut) -> Result<(), LaunchError> {
        if began.elapsed() > PATIENCE {
            return Err(LaunchError::Silent {
                server: "the runner's pod".to_owned(),
                seconds: began.elapsed().as_secs(),
                why: shorten(&one_line(&why.0), 300),
            });
        }
        if !std::mem::replace(told, true) {
            self.says(format!(
                "the result cannot be had yet: {}; trying again",
                one_line(&why.0)
            ));
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
        Ok(())
    }

    async fn fetch(
        &self,
        launch: &Launch,
        part: u32,
        place: &Place,
        folder: &Path,
    ) -> Result<(), LaunchError> {
        let began = Instant::now();
        let mut told = false;
        let mut link = None;
        let mut place = (place.pod.clone(), place.report.clone());
        let mut number = 0;
        while let Some(file) = place.1.files.get(number).cloned() {
            if !FILES.contains(&file.name.as_str()) || file.size > super::wire::LARGEST {
                return Err(LaunchError::Protocol {
                    id: launch.id.clone(),
                    why: format!(
                        "it has a file `{}` of {} bytes",
                        one_line(&file.name),
                        file.size
                    ),
                });
            }
            let fetched = match &link {
                Some(link) => Link::fetch(link, &file, &folder.join(&file.name)).await,
                None => match Link::open(&self.api, &launch.namespace, &place.0).await {
                    Ok(open) => {
                        link.insert(open)
                            .fetch(&file, &folder.join(&file.name))
                            .await
                    }
                    Err(why) => Err(FetchError::Cut(why)),
                },
            };
            match fetched {
                Ok(()) => number += 1,
                Err(FetchError::Other(error)) => return Err(error),
                Err(FetchError::Cut(why)) => {
                    link = None;
                    self.again(began, &mut told, &why).await?;
                    // The pod may be another by now, or gone.
                    let now = self.place(launch, part).await?;
                    if now.report.files != place.1.files {
                        number = 0;
                    }
                    place = (now.pod, now.report);
                }
            }
        }
        Ok(())
    }

    /// A pod that shows what is on the claim.
    async fn reader(&self, launch: &Launch, part: u32) -> Result<String, LaunchError> {
        let mut pod = objects::reader(&launch.job);
        let name = format!(
            "{}-{part}",
            pod["metadata"]["name"].as_str().unwrap_or_default()
        );
        pod["metadata"]["name"] = serde_json::json!(name);
        let variable =
            serde_json::json!({"name": super::wire::PART_VARIABLE, "value": part.to_string()});
        if let Some(env) = pod["spec"]["containers"][0]["env"].as_array_mut() {
            env.push(variable);
        } else {
            pod["spec"]["containers"][0]["env"] = serde_json::json!([variable]);
        }
        self.api.create(&POD, &pod).await?;
        let began = Instant::now();
        loop {
            let found = self.api.get(&POD, &launch.namespace, &name).await?;
            let state = found
                .as_ref()
                .map(|pod| &pod["status"]["containerStatuses"][0]["state"]);
            if state.is_some_and(|state| state["running"].is_object()) {
                return Ok(name);
            }
            if let Some(ended) = state
                .map(|state| &state["terminated"])
                .filter(|ended| ended.is_object())
            {
                let words = ended["message"].as_str().unwrap_or_default().to_owned();
                self.no_readers(launch).await?;
                return Err(LaunchError::Lost {
                    id: launch.id.clone(),
                    why: format!("there is no result on the claim ({words})"),
                });
            }
            if began.elapsed() > PATIENCE {
                return Err(LaunchError::NotStarted {
                    problem: super::Problem::TimedOut,
                    message: format!(
                        "pod {name}, which shows the result on the claim, does not run"
                    ),
                });
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Removes the pods that showed what is on a claim.
    async fn no_readers(&self, launch: &Launch) -> Result<(), LaunchError> {
        if launch.claim.is_none() {
            return Ok(());
        }
        for part in 0..launch.parts {
            let name = format!("{}-reader-{part}", super::name_of(&launch.id));
            self.api
                .delete(&POD, &launch.namespace, &name, "gracePeriodSeconds=1")
                .await?;
        }
        Ok(())
    }
}
