//! What Trainer can do wrong.

use super::super::Fault;

/// The ways in which the reference's Trainer can be made to deviate.
pub(in super::super) const FAULTS: &[Fault] = &[
    Fault::new(
        "trainer/api/serves-trainjobs",
        "ClusterTrainingRuntimes are not served",
    ),
    Fault::new(
        "trainer/defaults/fills-a-trainjob",
        "a TrainJob does not say which group its runtime is of",
    ),
    Fault::new(
        "trainer/defaults/means-cluster-runtimes",
        "a name without a kind is that of a runtime of the namespace",
    ),
    Fault::new(
        "trainer/defaults/fills-the-mpi-policy",
        "there is no path for the keys of MPI",
    ),
    Fault::new(
        "trainer/admission/refuses-unknown-runtimes",
        "a runtime of the namespace need not exist",
    ),
    Fault::new(
        "trainer/admission/refuses-bad-names",
        "whatever Kubernetes takes is a name",
    ),
    Fault::new(
        "trainer/admission/refuses-long-names",
        "names may be as long as Kubernetes takes them",
    ),
    Fault::new(
        "trainer/admission/refuses-unknown-managers",
        "any controller may be named",
    ),
    Fault::new(
        "trainer/admission/refuses-initializers-without-job",
        "the jobs of a runtime are not looked at",
    ),
    Fault::new(
        "trainer/admission/refuses-reserved-variables",
        "PyTorch's variables may be set",
    ),
    Fault::new(
        "trainer/admission/keeps-the-runtime",
        "a TrainJob may change its runtime",
    ),
    Fault::new(
        "trainer/admission/keeps-the-manager",
        "a TrainJob may change its manager",
    ),
    Fault::new(
        "trainer/runtime/refuses-two-policies",
        "a runtime may have several policies",
    ),
    Fault::new(
        "trainer/runtime/refuses-several-replicas",
        "replicas are not counted",
    ),
    Fault::new(
        "trainer/runtime/needs-the-named-container",
        "containers may have any name",
    ),
    Fault::new(
        "trainer/runtime/stays-while-used",
        "a runtime in use may go",
    ),
    Fault::new(
        "trainer/runtime/stays-while-used:for-ever",
        "a runtime that was in use never goes",
    ),
    Fault::new(
        "trainer/trainjob/completes",
        "a TrainJob of several nodes does not say that it is complete",
    ),
    Fault::new(
        "trainer/trainjob/reports-its-jobs",
        "a TrainJob does not say how its jobs are",
    ),
    Fault::new(
        "trainer/trainjob/owns-its-jobset",
        "a JobSet does not say who controls it",
    ),
    Fault::new(
        "trainer/trainjob/runs-as-many-nodes",
        "the runtime's number of nodes counts, whatever a TrainJob says",
    ),
    Fault::new(
        "trainer/trainjob/runs-what-it-says",
        "an argument is added to those of a TrainJob",
    ),
    Fault::new(
        "trainer/trainjob/tells-torch-of-its-nodes",
        "PyTorch is not told where its first node is",
    ),
    Fault::new(
        "trainer/trainjob/reports-failure",
        "a TrainJob does not say that it failed",
    ),
    Fault::new(
        "trainer/trainjob/waits-while-suspended",
        "a new TrainJob runs although it is suspended",
    ),
    Fault::new(
        "trainer/trainjob/resumes",
        "a TrainJob that goes on says that it is suspended",
    ),
    Fault::new(
        "trainer/trainjob/suspends-while-running",
        "a TrainJob that runs cannot be suspended",
    ),
    Fault::new(
        "trainer/trainjob/is-deleted-with-its-pods",
        "the Jobs of a TrainJob outlive it",
    ),
];
