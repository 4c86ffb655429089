//! The named ways in which the reference's Pipelines can be made to deviate.

use crate::reference::fault::Fault;

/// The ways in which the reference's Pipelines can be made to deviate.
pub const FAULTS: &[Fault] = &[
    Fault::new("pipelines/server/reports-health", "`multi_user` is a text"),
    Fault::new(
        "pipelines/server/reports-errors",
        "errors are pages of HTML",
    ),
    Fault::new(
        "pipelines/access/requires-identity:read",
        "whoever does not say who it is may read everything",
    ),
    Fault::new(
        "pipelines/access/requires-identity:write",
        "whoever does not say who it is may change everything",
    ),
    Fault::new(
        "pipelines/access/checks-audience",
        "a token for the Kubernetes API is taken",
    ),
    Fault::new(
        "pipelines/access/requires-namespace",
        "a list without a namespace has everybody's objects",
    ),
    Fault::new(
        "pipelines/access/shows-namespace",
        "an experiment does not say its namespace",
    ),
    Fault::new(
        "pipelines/access/names-are-per-namespace",
        "a name that is taken in one namespace is taken in all",
    ),
    Fault::new(
        "pipelines/access/viewer-reads",
        "who may only read may not read",
    ),
    Fault::new(
        "pipelines/access/viewer-changes-nothing",
        "who may read may change",
    ),
    Fault::new(
        "pipelines/access/keeps-experiments-apart:read",
        "everybody reads everybody's experiments",
    ),
    Fault::new(
        "pipelines/access/keeps-experiments-apart:write",
        "everybody changes everybody's experiments",
    ),
    Fault::new(
        "pipelines/access/keeps-pipelines-apart:read",
        "everybody reads everybody's pipelines",
    ),
    Fault::new(
        "pipelines/access/keeps-pipelines-apart:write",
        "everybody changes everybody's pipelines",
    ),
    Fault::new(
        "pipelines/access/keeps-runs-apart:read",
        "everybody reads everybody's runs",
    ),
    Fault::new(
        "pipelines/access/keeps-runs-apart:write",
        "everybody changes everybody's runs",
    ),
    Fault::new(
        "pipelines/access/keeps-recurring-runs-apart:read",
        "everybody reads everybody's recurring runs",
    ),
    Fault::new(
        "pipelines/access/keeps-recurring-runs-apart:write",
        "everybody changes everybody's recurring runs",
    ),
    Fault::new(
        "pipelines/access/guards-uploads",
        "nobody is asked who uploads",
    ),
    Fault::new(
        "pipelines/access/keeps-pipelines-private",
        "a run may be of a pipeline that its user may not read",
    ),
    Fault::new(
        "pipelines/experiment/is-created-as-asked",
        "the description is gone when the experiment is read",
    ),
    Fault::new(
        "pipelines/experiment/refuses-duplicate-name",
        "a second experiment of the same name is made",
    ),
    Fault::new(
        "pipelines/experiment/requires-name",
        "an experiment without a name is given one",
    ),
    Fault::new(
        "pipelines/experiment/is-deleted",
        "a deletion answers well and does nothing",
    ),
    Fault::new(
        "pipelines/experiment/archives-its-runs",
        "the runs of an archived experiment stay available where nothing recurs in it",
    ),
    Fault::new(
        "pipelines/list/pages-experiments",
        "each further page misses its first object",
    ),
    Fault::new("pipelines/list/sorts-experiments", "`desc` is ignored"),
    Fault::new(
        "pipelines/list/filters-by-equality",
        "EQUALS finds parts of names",
    ),
    Fault::new(
        "pipelines/list/filters-by-substring",
        "IS_SUBSTRING ignores the last word of the text",
    ),
    Fault::new(
        "pipelines/list/joins-predicates",
        "one predicate of a filter suffices",
    ),
    Fault::new(
        "pipelines/list/refuses-bad-token",
        "a bad page token gives the first page",
    ),
    Fault::new(
        "pipelines/list/refuses-unknown-order",
        "an unknown order gives the default one",
    ),
    Fault::new(
        "pipelines/list/refuses-bad-filter",
        "a bad filter is ignored, save one whose operation and value do not go together",
    ),
    Fault::new(
        "pipelines/list/pages-runs",
        "each further page misses its first run",
    ),
    Fault::new("pipelines/list/sorts-runs", "`desc` is ignored"),
    Fault::new(
        "pipelines/list/filters-runs",
        "a filter is ignored where an experiment is given",
    ),
    Fault::wide(
        "pipelines/list/filters-runs:scope",
        "the experiment is ignored",
        "the runs of all experiments are in the pages and orders that other checks look at",
    ),
    Fault::new(
        "pipelines/pipeline/is-uploaded",
        "the description is gone when a pipeline of several versions is read",
    ),
    Fault::wide(
        "pipelines/pipeline/keeps-what-was-uploaded",
        "a default value of a plain file is lost",
        "what is lost on the way in is lost in the kept object too",
    ),
    Fault::new(
        "pipelines/pipeline/refuses-duplicate-name",
        "a second pipeline of the same name is made",
    ),
    Fault::new(
        "pipelines/pipeline/refuses-what-is-no-pipeline",
        "whatever is uploaded is kept",
    ),
    Fault::new(
        "pipelines/pipeline/is-found-by-name",
        "an unknown name is answered with an empty pipeline",
    ),
    Fault::new(
        "pipelines/pipeline/is-not-deleted-with-versions",
        "a pipeline goes with its versions unasked",
    ),
    Fault::new(
        "pipelines/version/is-added",
        "a further version is called by its id",
    ),
    Fault::new(
        "pipelines/version/refuses-duplicate-name",
        "a second version of the same name is made",
    ),
    Fault::new(
        "pipelines/version/refuses-unknown-pipeline",
        "a version of no pipeline is kept",
    ),
    Fault::new(
        "pipelines/version/is-deleted-alone",
        "all versions of the pipeline go",
    ),
    Fault::new(
        "pipelines/run/inline-succeeds",
        "the time of the end of a run of one step is never set",
    ),
    Fault::new(
        "pipelines/run/by-reference-succeeds",
        "another version than the one asked for is run",
    ),
    Fault::new(
        "pipelines/run/passes-parameters",
        "in a pipeline of two tasks an output text arrives empty",
    ),
    Fault::new("pipelines/run/passes-artifacts", "a file arrives empty"),
    Fault::new("pipelines/run/follows-condition", "both branches are run"),
    Fault::new(
        "pipelines/run/failing-task-fails",
        "the exit code of the one task of a pipeline that was sent along is lost",
    ),
    Fault::new(
        "pipelines/run/keeps-state-history",
        "the final state is missing in the history",
    ),
    Fault::new(
        "pipelines/run/refuses-unknown-parameter",
        "an unknown parameter is ignored",
    ),
    Fault::new(
        "pipelines/run/refuses-mistyped-parameter",
        "the types of parameters are not looked at",
    ),
    Fault::new(
        "pipelines/run/refuses-missing-parameter",
        "a missing parameter is left to the tasks",
    ),
    Fault::new(
        "pipelines/run/requires-name",
        "a run without a name is given one",
    ),
    Fault::new(
        "pipelines/run/refuses-unknown-pipeline",
        "a run of nothing is kept",
    ),
    Fault::new(
        "pipelines/run/terminates",
        "a terminated run is said to have succeeded",
    ),
    Fault::new(
        "pipelines/run/refuses-termination-of-finished",
        "the termination of a finished run is accepted",
    ),
    Fault::new(
        "pipelines/run/refuses-retry-of-succeeded",
        "the retry of a succeeded run is accepted",
    ),
    Fault::new(
        "pipelines/run/is-archived-and-restored",
        "archived runs are missing in lists",
    ),
    Fault::new(
        "pipelines/run/is-deleted",
        "a deletion answers well and does nothing",
    ),
    Fault::new(
        "pipelines/recurring-run/is-created-as-asked",
        "the concurrency is always 1 when it is read",
    ),
    Fault::new(
        "pipelines/recurring-run/is-listed",
        "a list of one has its key in snake case",
    ),
    Fault::new(
        "pipelines/recurring-run/is-disabled-and-enabled",
        "disabling what is due seldom answers well and does nothing",
    ),
    Fault::new(
        "pipelines/recurring-run/refuses-bad-concurrency",
        "any concurrency is kept",
    ),
    Fault::new(
        "pipelines/recurring-run/refuses-bad-trigger",
        "any trigger is kept",
    ),
    Fault::new(
        "pipelines/recurring-run/is-deleted",
        "a deletion of what is due seldom answers well and does nothing",
    ),
    Fault::new(
        "pipelines/server/refuses-unknown-fields",
        "unknown fields are ignored",
    ),
    Fault::new(
        "pipelines/list/pages-pipelines",
        "each further page misses its first pipeline",
    ),
    Fault::new(
        "pipelines/list/pages-versions",
        "each further page misses its first version",
    ),
    Fault::new(
        "pipelines/list/pages-recurring-runs",
        "each further page misses its first recurring run",
    ),
    Fault::new("pipelines/list/sorts-pipelines", "`desc` is ignored"),
    Fault::new("pipelines/list/sorts-versions", "`desc` is ignored"),
    Fault::new("pipelines/list/sorts-recurring-runs", "`desc` is ignored"),
    Fault::new(
        "pipelines/list/sorts-by-time",
        "an order by time is one by name",
    ),
    Fault::new(
        "pipelines/list/sorts-by-time:desc",
        "`desc` is ignored in an order by time",
    ),
    Fault::new(
        "pipelines/list/filters-by-inequality",
        "NOT_EQUALS alone is ignored",
    ),
    Fault::new(
        "pipelines/list/filters-by-values",
        "IN finds the first value only",
    ),
    Fault::new(
        "pipelines/list/filters-by-values:scalar",
        "IN takes one value for a list",
    ),
    Fault::new(
        "pipelines/list/filters-by-time",
        "comparisons of times hold always",
    ),
    Fault::new(
        "pipelines/list/filters-by-storage-state",
        "all is AVAILABLE for filters",
    ),
    Fault::new(
        "pipelines/list/refuses-token-of-other-order",
        "a token goes with any order",
    ),
    Fault::new(
        "pipelines/list/refuses-negative-page-size",
        "a negative page size is taken for none",
    ),
    Fault::new(
        "pipelines/list/filters-recurring-runs",
        "the experiment is ignored",
    ),
    Fault::new(
        "pipelines/list/filters-recurring-runs:filter",
        "a filter is ignored where an experiment is given",
    ),
    Fault::new(
        "pipelines/experiment/disables-recurring-runs",
        "the recurring runs of an archived experiment stay enabled",
    ),
    Fault::new(
        "pipelines/experiment/is-restored-alone",
        "the runs of an experiment are restored with it",
    ),
    Fault::new(
        "pipelines/experiment/is-restored-alone:recurring",
        "the recurring runs of an experiment are enabled with it",
    ),
    Fault::new(
        "pipelines/experiment/leaves-its-runs",
        "the runs of an experiment are deleted with it",
    ),
    Fault::new(
        "pipelines/experiment/knows-its-last-run",
        "the time of the last run is never set",
    ),
    Fault::new(
        "pipelines/pipeline/is-uploaded-as-zip",
        "zip archives are refused",
    ),
    Fault::new(
        "pipelines/pipeline/is-uploaded-as-tarball",
        "compressed tar archives are refused",
    ),
    Fault::new(
        "pipelines/pipeline/is-created-empty",
        "a pipeline that is created with a description and no name of its own gets a version",
    ),
    Fault::new(
        "pipelines/pipeline/requires-name",
        "a pipeline without a name is given one",
    ),
    Fault::wide(
        "pipelines/pipeline/keeps-display-name",
        "the display name is taken for the name too",
        "the kept object is called by the pipeline's name",
    ),
    Fault::new(
        "pipelines/pipeline/is-deleted-with-versions",
        "cascading is refused",
    ),
    Fault::new(
        "pipelines/pipeline/is-deleted-with-versions:orphan",
        "the versions of a pipeline stay",
    ),
    Fault::new(
        "pipelines/pipeline/is-renamed",
        "a change drops what it does not name",
    ),
    Fault::new(
        "pipelines/version/is-renamed",
        "a change of a version answers well and does nothing",
    ),
    Fault::new(
        "pipelines/pipeline/keeps-tags",
        "tags are added to those that are there",
    ),
    Fault::new(
        "pipelines/version/keeps-tags",
        "tags of a version are added to those that are there",
    ),
    Fault::new(
        "pipelines/pipeline/is-found-by-tag",
        "filters by tags are ignored",
    ),
    Fault::new(
        "pipelines/pipeline/refuses-too-many-tags",
        "any number of tags is kept",
    ),
    Fault::new(
        "pipelines/run/takes-latest-version",
        "the first version is the latest",
    ),
    Fault::new(
        "pipelines/run/refuses-version-of-other-pipeline",
        "it is not looked at whose the version is",
    ),
    Fault::new(
        "pipelines/run/refuses-pipeline-without-versions",
        "a run of a pipeline without versions is kept",
    ),
    Fault::new(
        "pipelines/run/refuses-two-pipelines",
        "of two pipelines one is run",
    ),
    Fault::new(
        "pipelines/run/refuses-no-pipeline",
        "a run without a pipeline is kept",
    ),
    Fault::new(
        "pipelines/run/belongs-to-experiment",
        "a run without an experiment is kept without one",
    ),
    Fault::new(
        "pipelines/run/is-not-restored-in-archived-experiment",
        "a run is restored in an archived experiment",
    ),
    Fault::new(
        "pipelines/run/keeps-service-account",
        "every run has the default account",
    ),
    Fault::new(
        "pipelines/recurring-run/requires-name",
        "a recurring run without a name is given one",
    ),
    Fault::new(
        "pipelines/recurring-run/refuses-unknown-pipeline",
        "a recurring run of nothing is kept",
    ),
    Fault::new(
        "pipelines/run/is-retried",
        "a retry answers well and does nothing",
    ),
    Fault::new(
        "pipelines/run/is-retried:all",
        "a retry does everything again, not only what failed",
    ),
    Fault::wide(
        "pipelines/run/shows-tasks",
        "a run does not show its tasks",
        "retries, limits and exit tasks are seen in a run's tasks alone",
    ),
    Fault::new("pipelines/execution/uses-defaults", "defaults are ignored"),
    Fault::new(
        "pipelines/execution/prefers-given-values",
        "a default goes before what is given",
    ),
    Fault::new(
        "pipelines/execution/passes-all-types",
        "a list arrives as its items alone",
    ),
    Fault::new(
        "pipelines/execution/sets-environment",
        "the environment of containers is dropped",
    ),
    Fault::new(
        "pipelines/execution/nests-pipelines",
        "the outputs of a pipeline in a pipeline are lost",
    ),
    Fault::new(
        "pipelines/execution/keeps-order",
        "a task that gives something does not wait for tasks that it takes nothing from",
    ),
    Fault::new(
        "pipelines/execution/stops-after-failure",
        "a task is executed though what it waits for failed",
    ),
    Fault::new(
        "pipelines/execution/loops-over-items",
        "each iteration gets the whole list",
    ),
    Fault::new(
        "pipelines/execution/fails-with-an-iteration:last",
        "the last item of a loop is left out",
    ),
    Fault::new(
        "pipelines/execution/fails-with-an-iteration:first",
        "the first item of a loop is left out",
    ),
    Fault::new(
        "pipelines/execution/loops-over-written-items",
        "a list that is written in the pipeline is empty where it has no limit",
    ),
    Fault::new(
        "pipelines/execution/limits-parallelism",
        "all iterations are executed at once",
    ),
    Fault::new(
        "pipelines/execution/exit-task-runs-after-failure",
        "an exit task that takes nothing is left out after a failure",
    ),
    Fault::new(
        "pipelines/execution/exit-task-runs-after-success",
        "an exit task that takes nothing is left out after a success",
    ),
    Fault::new(
        "pipelines/execution/exit-task-knows-status",
        "an exit task is told an empty status",
    ),
    Fault::new(
        "pipelines/execution/retries-tasks",
        "a task is attempted once, whatever its policy",
    ),
    Fault::new(
        "pipelines/execution/reuses-cached-results",
        "nothing is taken from the cache",
    ),
    Fault::new(
        "pipelines/execution/cache-minds-inputs",
        "the cache does not look at inputs",
    ),
    Fault::new(
        "pipelines/execution/runs-again-without-cache",
        "everything is taken from the cache",
    ),
    Fault::new(
        "pipelines/recurring-run/fires-at-interval",
        "what has an interval and no end never fires",
    ),
    Fault::new(
        "pipelines/recurring-run/fires-at-interval:fast",
        "what has an interval and no end fires every ten seconds",
    ),
    Fault::new(
        "pipelines/recurring-run/fires-by-cron",
        "what has a cron expression never fires",
    ),
    Fault::new(
        "pipelines/recurring-run/names-itself-in-runs",
        "the runs that are started are in no experiment",
    ),
    Fault::new(
        "pipelines/recurring-run/never-fires-when-created-disabled",
        "what was created disabled fires once",
    ),
    Fault::new(
        "pipelines/recurring-run/stops-when-disabled",
        "what was disabled fires on",
    ),
    Fault::new(
        "pipelines/recurring-run/resumes-when-enabled",
        "what was once disabled never fires again",
    ),
    Fault::new(
        "pipelines/recurring-run/stops-when-deleted",
        "what was deleted fires on",
    ),
    Fault::new(
        "pipelines/recurring-run/leaves-its-runs",
        "the runs of a recurring run are deleted with it",
    ),
    Fault::new(
        "pipelines/recurring-run/bounds-concurrency",
        "any number of runs goes on at once",
    ),
    Fault::new(
        "pipelines/recurring-run/catches-up",
        "what is past is skipped, but for the last",
    ),
    Fault::new(
        "pipelines/recurring-run/skips-what-is-past",
        "what is past is caught up with, even where it must not",
    ),
    Fault::new(
        "pipelines/execution/reads-config-maps",
        "variables from config maps are dropped",
    ),
    Fault::new(
        "pipelines/execution/mounts-config-maps",
        "config maps are not mounted",
    ),
    Fault::new(
        "pipelines/execution/reads-secrets",
        "variables from secrets are dropped",
    ),
    Fault::new(
        "pipelines/execution/mounts-secrets",
        "secrets are not mounted",
    ),
    Fault::new(
        "pipelines/execution/mounts-claims",
        "claimed volumes are not mounted",
    ),
    Fault::new(
        "pipelines/execution/limits-memory",
        "limits of memory are dropped",
    ),
    Fault::new(
        "pipelines/list/takes-large-page-size",
        "a page of more than 200 is refused",
    ),
    Fault::new(
        "pipelines/execution/labels-pods",
        "labels of pods are dropped",
    ),
    Fault::new(
        "pipelines/run/is-executed-as-its-account",
        "pods have the account `default`",
    ),
    Fault::new(
        "pipelines/store/keeps-pipelines",
        "the object of a pipeline has no description",
    ),
    Fault::new(
        "pipelines/store/keeps-pipelines:deletion",
        "the object of a pipeline stays when it is deleted through the API",
    ),
    Fault::new(
        "pipelines/store/keeps-versions",
        "the object of a version misses a default value",
    ),
    Fault::new(
        "pipelines/store/keeps-versions:deletion",
        "the object of a version stays when it is deleted through the API",
    ),
    Fault::new(
        "pipelines/store/serves-objects",
        "the display name of a pipeline that was applied is its name",
    ),
    Fault::new(
        "pipelines/store/serves-objects:change",
        "a change of an object is not seen",
    ),
    Fault::new(
        "pipelines/store/runs-objects",
        "a version without parameters that was applied is run without its containers",
    ),
    Fault::new(
        "pipelines/store/links-versions",
        "a version does not say by a label which pipeline it is of",
    ),
    Fault::new(
        "pipelines/store/links-versions:owner",
        "a dry run does not show the owner of a version",
    ),
    Fault::new(
        "pipelines/store/refuses-unknown-pipeline",
        "a version of no pipeline is kept",
    ),
    Fault::new(
        "pipelines/store/refuses-broken-specs",
        "whatever is a version's spec is kept",
    ),
    Fault::new(
        "pipelines/store/keeps-specs-unchanged",
        "the pipeline spec of a version may be changed",
    ),
    Fault::new(
        "pipelines/store/keeps-specs-unchanged:pipeline",
        "a version may be made one of another pipeline",
    ),
    Fault::new(
        "pipelines/store/removes-versions-with-pipeline",
        "versions have no owner",
    ),
];
