//! What the Spark Operator can do wrong.

use super::super::Fault;

/// The ways in which the reference's operator can be made to deviate.
pub(in super::super) const FAULTS: &[Fault] = &[
    Fault::wide(
        "spark/api/serves-applications",
        "ScheduledSparkApplications have no status subresource",
        "no schedule keeps a status then",
    ),
    Fault::new(
        "spark/defaults/fills-an-application",
        "an application has no mode unless it says one",
    ),
    Fault::new(
        "spark/defaults/leaves-what-the-configuration-says",
        "one executor is asked for whatever sparkConf says",
    ),
    Fault::new(
        "spark/defaults/fills-retry-intervals",
        "there is no interval between attempts unless an application says one",
    ),
    Fault::new(
        "spark/defaults/leaves-instances-to-dynamic-allocation",
        "one executor is asked for although their number is dynamic",
    ),
    Fault::new(
        "spark/admission/refuses-unknown-words",
        "an application's type may be any word",
    ),
    Fault::new(
        "spark/admission/needs-what-to-run",
        "an application needs no file to run",
    ),
    Fault::new(
        "spark/admission/refuses-less-than-one",
        "an application may have no executors",
    ),
    Fault::new(
        "spark/admission/refuses-bad-names",
        "an application may have any name",
    ),
    Fault::new(
        "spark/admission/refuses-bad-names-of-schedules",
        "a schedule may have any name",
    ),
    Fault::new(
        "spark/admission/refuses-node-selectors-twice",
        "node selectors are not compared",
    ),
    Fault::new(
        "spark/admission/refuses-repeated-ingresses",
        "the ingresses of a driver are not compared",
    ),
    Fault::new(
        "spark/admission/refuses-templates-before-spark-3",
        "the version of Spark is not looked at",
    ),
    Fault::new(
        "spark/application/reports-failed-submission",
        "an application that failed does not say why",
    ),
    Fault::new(
        "spark/application/marks-its-submission",
        "an application does not say when it was submitted",
    ),
    Fault::new(
        "spark/application/names-its-driver",
        "the pod of a driver is called alike whatever the application says",
    ),
    Fault::new(
        "spark/application/retries-submission",
        "an application is submitted once",
    ),
    Fault::new(
        "spark/application/is-submitted-again-when-changed",
        "changes of an application are ignored",
    ),
    Fault::new(
        "spark/application/expires",
        "an application stays whatever its time to live",
    ),
    Fault::new(
        "spark/application/waits-while-suspended",
        "a new application is submitted although it is suspended",
    ),
    Fault::new(
        "spark/application/resumes",
        "a suspended application never goes on",
    ),
    Fault::new(
        "spark/schedule/plans-its-next-run",
        "time zones are an hour off",
    ),
    Fault::new(
        "spark/schedule/reports-bad-schedules",
        "a schedule that cannot be read does not say why",
    ),
    Fault::new(
        "spark/schedule/starts-applications",
        "an application does not say which schedule started it",
    ),
    Fault::new(
        "spark/schedule/is-deleted-with-its-applications",
        "the applications of a schedule outlive it",
    ),
];
