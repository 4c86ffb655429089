//! What admission refuses of inference graphs and trained models; see [`super::admission`].

use super::{super::prelude::*, admission::admission_checks};

admission_checks! {
    "kserve/graph/refuses-no-root" => Graph {
        accepts: [],
        refuses: {
            "without a root": {"spec": {"nodes": {
                "root": null,
                "other": {"routerType": "Sequence", "steps": [{"name": "first", "serviceName": "one"}]},
            }}},
        },
    }
    "kserve/graph/refuses-incomplete-weights" => Graph {
        accepts: [{"spec": {"nodes": {"root": {"routerType": "Splitter", "steps": [
            {"name": "first", "serviceName": "one", "weight": 80},
            {"name": "second", "serviceName": "two", "weight": 20},
        ]}}}}],
        refuses: {
            "whose weights come to 99": {"spec": {"nodes": {"root": {"routerType": "Splitter", "steps": [
                {"name": "first", "serviceName": "one", "weight": 80},
                {"name": "second", "serviceName": "two", "weight": 19},
            ]}}}},
            "that splits without a weight": {"spec": {"nodes": {"root": {"routerType": "Splitter", "steps": [
                {"name": "first", "serviceName": "one", "weight": 100},
                {"name": "second", "serviceName": "two"},
            ]}}}},
        },
    }
    "kserve/graph/refuses-unclear-targets" => Graph {
        accepts: [{"spec": {"nodes": {"root": {"steps": [{"name": "first", "serviceUrl": "http://one"}]}}}}],
        refuses: {
            "with a step without target": {"spec": {"nodes": {"root": {"steps": [{"name": "first"}]}}}},
            "with a step of two targets": {"spec": {"nodes": {"root": {"steps": [
                {"name": "first", "serviceName": "one", "serviceUrl": "http://one"},
            ]}}}},
        },
    }
    "kserve/graph/refuses-repeated-step-names" => Graph {
        accepts: [],
        refuses: {
            "with two steps of one name": {"spec": {"nodes": {"root": {"steps": [
                {"name": "first", "serviceName": "one"},
                {"name": "first", "serviceName": "two"},
            ]}}}},
        },
    }
    "kserve/graph/refuses-bad-names" => Graph {
        accepts: [{"metadata": {"name": "abc-1"}}],
        refuses: {
            "whose name begins with a digit": {"metadata": {"name": "1abc"}},
        },
    }
    "kserve/trained-model/refuses-bad-names" => TrainedModel {
        accepts: [{"metadata": {"name": "abc-1"}}],
        refuses: {
            "whose name has a dot": {"metadata": {"name": "a.b"}},
        },
    }
    "kserve/trained-model/refuses-unknown-storage" => TrainedModel {
        accepts: [{"spec": {"model": {"storageUri": "gs://a/b"}}}],
        refuses: {
            "whose storage URI has an unknown scheme": {"spec": {"model": {"storageUri": "ftp://a/b"}}},
        },
    }
}
