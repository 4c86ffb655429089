//! The command line.

use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};

const AFTER: &str = "Exit codes: 0 conformant (or accepted, verified) · 1 non-conformant (or refused) · 2 usage error · 3 incomplete: no verdict possible";

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
    /// Prove that every check can fail: run each fault of the reference
    Selftest(SelftestArgs),
    /// Serve the embedded distribution and print a kubeconfig for it
    Reference(ReferenceArgs),
    /// Remove what a run left on a cluster
    Cleanup(CleanupArgs),
    /// Print a shell's completions
    Completions(CompletionsArgs),
    /// Print the manual page
    #[command(hide = true)]
    Man,
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
    /// How many checks may run at once
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
    /// How many checks may run at once
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
    /// The shell
    pub shell: clap_complete::Shell,
}
