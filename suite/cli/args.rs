//! The command line.

use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};

const AFTER: &str = "Exit codes: 0 conformant (or accepted, verified) · 1 non-conformant (or refused, or worse) · 2 usage error · 3 incomplete: no verdict possible";

/// Check a Kubeflow distribution and sign what was found
#[derive(Debug, Parser)]
#[command(name = "kfconform", version, after_help = AFTER, max_term_width = 110)]
pub(super) struct Cli {
    /// Say more on standard error; twice says everything
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub verbose: u8,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Check a cluster, or the embedded reference, and leave a signed result
    Run(Box<RunArgs>),
    /// Run again only what did not pass, and keep every attempt in the result
    Rerun(Box<RerunArgs>),
    /// List the requirements
    List(ListArgs),
    /// Explain one requirement: text, why, how it is checked, what usually breaks, sources
    Explain(ExplainArgs),
    /// Show what a run would check, and the set-ups that it shares
    Plan(PlanArgs),
    /// Look at each precondition of a run and say how to mend what is wrong
    Doctor(Box<DoctorArgs>),
    /// List the images that a run puts on the cluster
    Images(ImagesArgs),
    /// Print the least rights that a run needs, as a ClusterRole
    Rbac(RbacArgs),
    /// Show the recorded exchanges of a result, or of one check in it
    Evidence(EvidenceArgs),
    /// Compare two results: what got worse, better, is new, gone or slower
    Diff(DiffArgs),
    /// Say how much of the components' APIs was exercised, and by which requirements
    Coverage(CoverageArgs),
    /// Make a key pair in cosign's format
    Keygen(KeygenArgs),
    /// Sign a result folder anew
    Sign(SignArgs),
    /// Check a result folder's signature and every file's digest
    Verify(VerifyArgs),
    /// Make a submission of a result, if the review accepts it
    Submit(SubmitArgs),
    /// Decide on submissions, offline: recompute every verdict and hold the folder to every rule
    Review(ReviewArgs),
    /// Write what another programme asks for, from a result that holds
    Export {
        /// What is written.
        #[command(subcommand)]
        what: ExportCommand,
    },
    /// Make the pages of a folder of submissions: who is ready for which release, with badges and a feed
    Site(SiteArgs),
    /// Show a result again: as text, page, JUnit, Markdown or annotations of a pipeline
    Report(ReportArgs),
    /// Prove that every check can fail: run each fault of the reference
    Selftest(SelftestArgs),
    /// Serve the embedded distribution and print a kubeconfig for it
    Reference(ReferenceArgs),
    /// Remove what a run left on a cluster
    Cleanup(CleanupArgs),
    /// Make a run inside the cluster, as a Job, and watch it
    Launch(Box<LaunchArgs>),
    /// Say how it is with a launch
    Status(LaunchedArgs<StatusArgs>),
    /// Print what a launch's runner prints
    Logs(LaunchedArgs<LogsArgs>),
    /// Bring a launch's result here
    Retrieve(Box<LaunchedArgs<RetrieveArgs>>),
    /// Remove a launch, and what its run made, and leave nothing
    Delete(LaunchedArgs<DeleteArgs>),
    /// Run the same plan on several clusters side by side
    Fleet(Box<FleetArgs>),
    /// Print a shell's completions
    Completions(CompletionsArgs),
    /// Print the manual page, or write those of all commands
    Man(ManArgs),
    /// Say what may follow, for `kubectl`
    #[command(hide = true, name = "__complete", disable_help_flag = true)]
    Complete {
        /// The words so far, the last perhaps unfinished
        #[arg(allow_hyphen_values = true, trailing_var_arg = true)]
        words: Vec<String>,
    },
    /// Be the runner of a launch
    #[command(hide = true)]
    Runner {
        /// Only show the result that an earlier runner left
        #[arg(long)]
        show: bool,
    },
    /// Run inside one of the suite's pods
    Workload {
        #[command(subcommand)]
        command: crate::workload::WorkloadCommand,
    },
}

/// How a command writes its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Default)]
pub(super) enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

/// Which cluster.
#[derive(Debug, Args, Default)]
pub(super) struct ClusterArgs {
    /// The kubeconfig file; else KUBECONFIG, ~/.kube/config, or the pod's own cluster
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// The kubeconfig's context
    #[arg(long, value_name = "NAME")]
    pub context: Option<String>,
    /// A configuration file: where components are, pod settings, what to redact
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// Which requirements.
#[derive(Debug, Args)]
pub(super) struct SelectArgs {
    /// The profile: which requirements a mark needs
    #[arg(long, value_name = "NAME", default_value = "certified")]
    pub profile: String,
    /// The Kubeflow release to judge; the newest known when absent
    #[arg(long, value_name = "RELEASE")]
    pub release: Option<String>,
    /// Only requirements that match; may be given again (such a result can not be submitted)
    #[arg(long, value_name = "GLOB")]
    pub only: Vec<String>,
    /// No requirements that match; may be given again (such a result can not be submitted)
    #[arg(long, value_name = "GLOB")]
    pub skip: Vec<String>,
    /// Requirements from this folder instead of the embedded ones (such a result can not be submitted)
    #[arg(long, value_name = "DIR")]
    pub specs: Option<PathBuf>,
}

/// How a run is limited.
#[derive(Debug, Args)]
pub(super) struct LimitArgs {
    /// How many checks, and how many of the set-ups that they read, may run at once; fewer for a small cluster
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub jobs: u16,
    /// A named timeout, like experiment-finished=20m; may be given again (`plan` lists the names)
    #[arg(long, value_name = "NAME=DURATION")]
    pub timeout: Vec<String>,
    /// Take the suite's image from this registry (and path)
    #[arg(long, value_name = "REGISTRY")]
    pub registry: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct RunArgs {
    /// Check the embedded reference distribution instead of a cluster
    #[arg(long, conflicts_with_all = ["kubeconfig", "context"])]
    pub reference: bool,
    /// Make the reference deviate; may be given again (`selftest --list` lists them)
    #[arg(long, value_name = "ID", requires = "reference")]
    pub fault: Vec<String>,
    #[command(flatten)]
    pub cluster: ClusterArgs,
    #[command(flatten)]
    pub select: SelectArgs,
    #[command(flatten)]
    pub limits: LimitArgs,
    /// The result folder; kfconform-results/RUNID when absent
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    #[command(flatten)]
    pub output: OutputArgs,
    /// Go on with the interrupted run in this folder, with the requirements and limits that it was begun with; a
    /// configuration, which is not kept, is given again with --config
    #[arg(long, value_name = "DIR", conflicts_with_all = ["out", "profile", "release", "only", "skip", "timeout", "registry", "fault"])]
    pub resume: Option<PathBuf>,
}

/// What a run leaves and says.
#[derive(Debug, Args)]
pub(super) struct OutputArgs {
    /// Sign the result with this key (password from COSIGN_PASSWORD or a prompt)
    #[arg(long, value_name = "KEYFILE")]
    pub key: Option<PathBuf>,
    /// The product's metadata, kept beside the result
    #[arg(long, value_name = "FILE")]
    pub product: Option<PathBuf>,
    /// Leave what the run made on the cluster
    #[arg(long)]
    pub keep: bool,
    /// Post how the run goes to this address, in the form of Sonobuoy's progress updates
    #[arg(long, value_name = "URL")]
    pub progress_url: Option<String>,
    /// Print only the verdict line
    #[arg(long, short)]
    pub quiet: bool,
    /// How the final report is printed
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

#[derive(Debug, Args)]
pub(super) struct RerunArgs {
    /// The folder of the result, which stays as it is
    pub results: PathBuf,
    /// The folder of the merged result; RESULTS.2, or the next number that is free, when absent
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    #[command(flatten)]
    pub cluster: ClusterArgs,
    /// How many checks, and how many of the set-ups that they read, may run at once; fewer for a small cluster
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub jobs: u16,
    #[command(flatten)]
    pub output: OutputArgs,
}

#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// Only requirements that match
    #[arg(value_name = "GLOB")]
    pub only: Vec<String>,
    /// Only the requirements of this profile
    #[arg(long, value_name = "NAME")]
    pub profile: Option<String>,
    /// Only those that hold for this Kubeflow release
    #[arg(long, value_name = "RELEASE")]
    pub release: Option<String>,
    /// Requirements from this folder instead of the embedded ones
    #[arg(long, value_name = "DIR")]
    pub specs: Option<PathBuf>,
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

#[derive(Debug, Args)]
pub(super) struct ExplainArgs {
    /// The requirement's id
    pub id: String,
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

#[derive(Debug, Args)]
pub(super) struct PlanArgs {
    #[command(flatten)]
    pub select: SelectArgs,
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

#[derive(Debug, Args)]
pub(super) struct DoctorArgs {
    #[command(flatten)]
    pub cluster: ClusterArgs,
    #[command(flatten)]
    pub select: SelectArgs,
    /// Take the suite's image from this registry (and path)
    #[arg(long, value_name = "REGISTRY")]
    pub registry: Option<String>,
    /// Look at the embedded reference distribution instead of a cluster
    #[arg(long, conflicts_with_all = ["kubeconfig", "context"])]
    pub reference: bool,
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

#[derive(Debug, Args)]
pub(super) struct ImagesArgs {
    /// Take the suite's image from this registry (and path)
    #[arg(long, value_name = "REGISTRY")]
    pub registry: Option<String>,
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

#[derive(Debug, Args)]
pub(super) struct RbacArgs {
    /// The service account that the role is bound to, as NAMESPACE/NAME
    #[arg(long, value_name = "ACCOUNT")]
    pub bind: Option<String>,
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

#[derive(Debug, Args)]
pub(super) struct EvidenceArgs {
    /// The result folder
    pub dir: PathBuf,
    /// A check's or set-up's id; the list of what there is when absent
    pub id: Option<String>,
    /// Execute the checks again over the evidence and compare with the result
    #[arg(long)]
    pub replay: bool,
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// How a difference is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Default)]
pub(super) enum DiffFormat {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
    /// For a comment on a pull request.
    Markdown,
    /// For a pipeline's test report: what got worse is a failure.
    Junit,
}

#[derive(Debug, Args)]
pub(super) struct DiffArgs {
    /// The earlier result: its folder, a submission's, or a results.json
    #[arg(value_name = "FROM")]
    pub from: PathBuf,
    /// The later one
    #[arg(value_name = "TO")]
    pub to: PathBuf,
    #[arg(long, value_enum, default_value_t)]
    pub format: DiffFormat,
}

#[derive(Debug, Args)]
pub(super) struct CoverageArgs {
    /// The result folder; what a run of everything on the reference exercises when absent
    #[arg(value_name = "RESULT")]
    pub dir: Option<PathBuf>,
    /// Say by which requirements
    #[arg(long, requires = "dir")]
    pub by: bool,
    #[arg(long, value_enum, default_value_t)]
    pub format: ReviewFormat,
}

#[derive(Debug, Args)]
pub(super) struct KeygenArgs {
    /// Writes PREFIX.key and PREFIX.pub
    #[arg(long, value_name = "PREFIX", default_value = "kfconform")]
    pub out: PathBuf,
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

#[derive(Debug, Args)]
pub(super) struct SignArgs {
    /// The result folder
    pub dir: PathBuf,
    /// The private key (password from COSIGN_PASSWORD or a prompt)
    #[arg(long, value_name = "KEYFILE")]
    pub key: PathBuf,
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

#[derive(Debug, Args)]
pub(super) struct VerifyArgs {
    /// The result folder
    pub dir: PathBuf,
    /// The public key that is trusted
    #[arg(long, value_name = "PUBFILE")]
    pub trust: PathBuf,
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

#[derive(Debug, Args)]
pub(super) struct SiteArgs {
    /// The folder of submissions: RELEASE/PRODUCT/VERSION, samples below sample/
    pub dir: PathBuf,
    /// Where the pages are written: a folder that is empty, or not there
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// The day for which the pages say what is valid; today when absent
    #[arg(long, value_name = "YYYY-MM-DD")]
    pub date: Option<jiff::civil::Date>,
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// How a result is shown again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Default)]
pub(super) enum ReportFormat {
    /// As at the end of the run.
    #[default]
    Text,
    /// `results.json`.
    Json,
    /// `report.html`.
    Html,
    /// `junit.xml`.
    Junit,
    /// For a pipeline's summary or a comment.
    Markdown,
    /// The annotations that GitHub's runners take from a step's output.
    Github,
}

#[derive(Debug, Args)]
pub(super) struct ReportArgs {
    /// The result folder
    pub dir: PathBuf,
    #[arg(long, value_enum, default_value_t)]
    pub format: ReportFormat,
}

/// How a review is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Default)]
pub(super) enum ReviewFormat {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
    /// For a comment on a pull request.
    Markdown,
}

#[derive(Debug, Args)]
pub(super) struct SubmitArgs {
    /// The result folder
    #[arg(value_name = "RESULTS", required_unless_present = "template")]
    pub results: Option<PathBuf>,
    /// Whose product it is: the file that --template prints, filled in
    #[arg(long, value_name = "FILE", required_unless_present = "template")]
    pub product: Option<PathBuf>,
    /// The private key (password from COSIGN_PASSWORD or a prompt)
    #[arg(long, value_name = "KEYFILE", required_unless_present = "template")]
    pub key: Option<PathBuf>,
    /// The submission's folder; reports/RELEASE/PRODUCT/VERSION when absent
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Requirements and the programme's rules from this folder instead of the embedded ones
    #[arg(long, value_name = "DIR")]
    pub specs: Option<PathBuf>,
    /// Take a result of the embedded reference too: it becomes a sample, for which nobody may carry a mark
    #[arg(long)]
    pub allow_sample: bool,
    /// Print a product.yaml to fill in
    #[arg(long)]
    pub template: bool,
    #[arg(long, value_enum, default_value_t)]
    pub format: ReviewFormat,
}

#[derive(Debug, Args)]
pub(super) struct ReviewArgs {
    /// The submissions, or bare results of the reference
    #[arg(value_name = "DIR", required_unless_present = "rules")]
    pub dirs: Vec<PathBuf>,
    /// A public key that is known; may be given again. Without any, a submission's own is taken and said to be new
    #[arg(long, value_name = "PUBFILE")]
    pub trust: Vec<PathBuf>,
    /// Accept a result of the embedded reference as the sample that it is
    #[arg(long)]
    pub allow_sample: bool,
    /// Requirements and the programme's rules from this folder instead of the embedded ones
    #[arg(long, value_name = "DIR")]
    pub specs: Option<PathBuf>,
    /// Look at the product's pages on the network too, as advice: that decides nothing
    #[arg(long)]
    pub online: bool,
    /// List the rules and review nothing
    #[arg(long)]
    pub rules: bool,
    #[arg(long, value_enum, default_value_t)]
    pub format: ReviewFormat,
}

/// What another programme asks for.
#[derive(Debug, Subcommand)]
pub(super) enum ExportCommand {
    /// The evidence that CNCF's AI conformance asks of robust_controller: the item of its checklist, filled in, and a page
    AiConformance(AiConformanceArgs),
}

#[derive(Debug, Args)]
pub(super) struct AiConformanceArgs {
    /// The result folder, signed, or a submission
    #[arg(value_name = "RESULTS")]
    pub dir: PathBuf,
    /// The public key that signed it; may be given again. A submission holds its own
    #[arg(long, value_name = "PUBFILE")]
    pub trust: Vec<PathBuf>,
    /// Where the files are written: a folder that is empty, or not there
    #[arg(long, value_name = "DIR", default_value = "ai-conformance")]
    pub out: PathBuf,
    /// An address that the item names as evidence too, like that of the submission; may be given again
    #[arg(long, value_name = "URL")]
    pub link: Vec<String>,
    /// Take a result of the embedded reference too: it becomes a sample, which claims nothing
    #[arg(long)]
    pub allow_sample: bool,
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

#[derive(Debug, Args)]
pub(super) struct SelftestArgs {
    /// Only faults that match, by their own id or their requirement's; may be given again
    #[arg(long, value_name = "GLOB")]
    pub only: Vec<String>,
    /// List the faults and run nothing
    #[arg(long)]
    pub list: bool,
    /// The profile whose checks are proven
    #[arg(long, value_name = "NAME", default_value = "all")]
    pub profile: String,
    /// How many faults are shown side by side; twice as many as there are cores when absent
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub jobs: Option<u16>,
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

#[derive(Debug, Args)]
pub(super) struct ReferenceArgs {
    /// Where to listen
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    pub listen: std::net::SocketAddr,
    /// Writes the kubeconfig to this file too
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Make it deviate; may be given again
    #[arg(long, value_name = "ID")]
    pub fault: Vec<String>,
    /// Lay it out like a distribution, by its name in specs/distributions
    #[arg(long, value_name = "NAME")]
    pub layout: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct CleanupArgs {
    /// The run's id
    #[arg(long, value_name = "ID")]
    pub run: String,
    #[command(flatten)]
    pub cluster: ClusterArgs,
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

#[derive(Debug, Args)]
pub(super) struct CompletionsArgs {
    /// The shell; `kubectl` for the plugin, whose completions kubectl asks for itself
    pub shell: Completer,
}

/// Who completes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Completer {
    /// A shell.
    Of(clap_complete::Shell),
    /// `kubectl`, of its plugin.
    Kubectl,
}

impl ValueEnum for Completer {
    fn value_variants<'a>() -> &'a [Self] {
        use clap_complete::Shell::{Bash, Elvish, Fish, PowerShell, Zsh};
        &[
            Self::Of(Bash),
            Self::Of(Elvish),
            Self::Of(Fish),
            Self::Of(PowerShell),
            Self::Of(Zsh),
            Self::Kubectl,
        ]
    }

    fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
        match self {
            Self::Of(shell) => shell.to_possible_value(),
            Self::Kubectl => Some("kubectl".into()),
        }
    }
}

#[derive(Debug, Args)]
pub(super) struct ManArgs {
    /// Write a page for each command into this folder
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}

/// How long something may take, like `30s`, `5m` or `1h`.
fn duration(text: &str) -> Result<std::time::Duration, String> {
    crate::spec::parse_duration(text)
}

/// `NAME=VALUE`.
fn variable(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("it is not NAME=VALUE".to_owned()),
    }
}

#[expect(
    clippy::struct_excessive_bools,
    reason = "each is one switch of the command line"
)]
#[derive(Debug, Args)]
pub(super) struct LaunchArgs {
    #[command(flatten)]
    pub cluster: ClusterArgs,
    #[command(flatten)]
    pub select: SelectArgs,
    #[command(flatten)]
    pub limits: LimitArgs,
    /// Launch in this namespace, which exists; one is made for the launch when absent
    #[arg(long, value_name = "NAMESPACE")]
    pub namespace: Option<String>,
    /// Make the run in so many parts at once, each a pod of its own
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub shards: u32,
    /// Keep the result on a volume of this size, which `delete` removes (its class: storageClass in the configuration)
    #[arg(long, value_name = "SIZE", conflicts_with = "claim")]
    pub storage: Option<String>,
    /// Keep the result on the volume of this claim, which exists and stays
    #[arg(long, value_name = "CLAIM", requires = "namespace")]
    pub claim: Option<String>,
    /// Set an environment variable of the runner, like HTTPS_PROXY=…; may be given again
    #[arg(long = "env", value_name = "NAME=VALUE", value_parser = variable)]
    pub environment: Vec<(String, String)>,
    /// Certificates of authorities (PEM) that the runner trusts where a component has an address of its own
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// How long the runner may take to start
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = duration)]
    pub start_timeout: std::time::Duration,
    /// How long the runner keeps the result for whoever retrieves it
    #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = duration)]
    pub hold: std::time::Duration,
    /// Check nothing: look at the cluster from inside, to see that a launch works there
    #[arg(long)]
    pub dry_run: bool,
    /// Only launch; do not wait for the run
    #[arg(long, conflicts_with_all = ["out", "delete", "key", "product"])]
    pub detach: bool,
    /// Print what would be put on the cluster, and put nothing there
    #[arg(long, conflicts_with_all = ["detach", "out", "delete", "key", "product"])]
    pub print: bool,
    /// Retrieve the result into this folder once the run is over
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Remove the launch once its result is retrieved
    #[arg(long, requires = "out")]
    pub delete: bool,
    #[command(flatten)]
    pub output: OutputArgs,
}

/// A launch that is there.
#[derive(Debug, Args)]
pub(super) struct LaunchedArgs<A: Args> {
    /// The launch's id; not needed where there is only one
    #[arg(value_name = "ID")]
    pub id: Option<String>,
    /// Its namespace; needed where jobs of all namespaces may not be listed
    #[arg(long, value_name = "NAMESPACE")]
    pub namespace: Option<String>,
    #[command(flatten)]
    pub cluster: ClusterArgs,
    #[command(flatten)]
    pub of: A,
}

#[derive(Debug, Args)]
pub(super) struct StatusArgs {
    /// Wait until the run is over, and show how it goes
    #[arg(long)]
    pub wait: bool,
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

#[derive(Debug, Args)]
pub(super) struct LogsArgs {
    /// Go on as more is printed
    #[arg(long, short)]
    pub follow: bool,
}

#[derive(Debug, Args)]
pub(super) struct RetrieveArgs {
    /// The result folder; kfconform-results/ID when absent
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Sign the result with this key (password from COSIGN_PASSWORD or a prompt)
    #[arg(long, value_name = "KEYFILE")]
    pub key: Option<PathBuf>,
    /// The product's metadata, kept beside the result
    #[arg(long, value_name = "FILE")]
    pub product: Option<PathBuf>,
    /// Let the runner keep the result, so that it can be retrieved again
    #[arg(long)]
    pub again: bool,
    /// Print only the verdict line
    #[arg(long, short)]
    pub quiet: bool,
    /// How the report is printed
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

#[derive(Debug, Args)]
pub(super) struct DeleteArgs {
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

#[derive(Debug, Args)]
pub(super) struct FleetArgs {
    /// The file that names the clusters
    pub file: PathBuf,
    #[command(flatten)]
    pub select: SelectArgs,
    #[command(flatten)]
    pub limits: LimitArgs,
    /// The folder with a result folder for each cluster, and the summary; kfconform-results/fleet-ID when absent
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}
