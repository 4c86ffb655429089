//! What the platform can do wrong.

use super::super::Fault;

/// The ways in which the reference's platform can be made to deviate.
pub(in super::super) const FAULTS: &[Fault] = &[
    Fault::new(
        "platform/profile/status-subresource",
        "the status of a Profile is written with the rest of it",
    ),
    Fault::new(
        "platform/profile/serves-v1beta1",
        "v1 is the only version of Profiles that is served",
    ),
    Fault::new(
        "platform/profile/refuses-owner-without-name",
        "an owner needs no name",
    ),
    Fault::new(
        "platform/profile/refuses-owner-without-kind",
        "an owner needs no kind",
    ),
    Fault::new(
        "platform/profile/refuses-bad-quota",
        "amounts in a quota may be any words",
    ),
    Fault::new(
        "platform/profile/creates-namespace",
        "a Profile with a quota gets no namespace",
    ),
    Fault::new(
        "platform/profile/names-owner",
        "a namespace does not say whose it is",
    ),
    Fault::new(
        "platform/profile/labels-namespace",
        "namespaces lack the label of Katib",
    ),
    Fault::new(
        "platform/profile/keeps-own-labels",
        "the labels of a namespace are put back to what they were",
    ),
    Fault::new(
        "platform/profile/makes-service-accounts",
        "there is no default-viewer",
    ),
    Fault::new(
        "platform/profile/binds-as-documented",
        "the owner's binding has another name",
    ),
    Fault::new("platform/profile/quota-appears", "quotas are not made"),
    Fault::new(
        "platform/profile/quota-follows",
        "a quota stays as it was made",
    ),
    Fault::new(
        "platform/profile/quota-follows:dropped",
        "limits are changed and added, never taken out",
    ),
    Fault::new(
        "platform/profile/quota-goes",
        "a quota stays when its Profile has none any more",
    ),
    Fault::new(
        "platform/profile/repairs-binding",
        "the owner's binding is made once",
    ),
    Fault::new(
        "platform/profile/repairs-service-account",
        "service accounts are made once",
    ),
    Fault::new(
        "platform/profile/keeps-foreign-namespace",
        "a namespace that names another owner is taken over",
    ),
    Fault::new(
        "platform/profile/keeps-foreign-namespace:unowned",
        "a namespace that names no owner is taken over",
    ),
    Fault::new(
        "platform/profile/is-deleted-with-namespace",
        "the namespace stays when its Profile goes",
    ),
    Fault::new(
        "platform/access/owner-manages-namespace",
        "the owner may do what an editor may",
    ),
    Fault::new(
        "platform/access/owner-keeps-limits",
        "the owner may do anything in the namespace",
    ),
    Fault::new(
        "platform/access/editor-works-in-namespace",
        "default-editor is bound to the role of viewers",
    ),
    Fault::new(
        "platform/access/editor-gives-no-rights",
        "default-editor is bound to the role of owners",
    ),
    Fault::new(
        "platform/access/viewer-only-reads",
        "default-viewer is bound to the role of editors",
    ),
    Fault::new(
        "platform/access/viewer-only-reads:nothing",
        "default-viewer's binding names another account",
    ),
    Fault::new(
        "platform/access/default-account-has-no-rights",
        "the account that every namespace has may look",
    ),
    Fault::wide(
        "platform/access/stranger-has-no-rights",
        "whoever logs in may do everything in every Profile's namespace",
        "who is nobody's guest is everybody's, as the neighbour is",
    ),
    Fault::new(
        "platform/access/notebooks-follow-roles",
        "editors may only look at notebooks",
    ),
    Fault::new(
        "platform/access/notebooks-follow-roles:viewer",
        "viewers may make and delete notebooks",
    ),
    Fault::new(
        "platform/access/group-owns-namespace",
        "a group that owns a Profile is taken for a user",
    ),
    Fault::new(
        "platform/access/policy-names-owner",
        "the owner's policy lets in everybody",
    ),
    Fault::new(
        "platform/isolation/reads-no-notebooks",
        "editors see the notebooks of all namespaces",
    ),
    Fault::new(
        "platform/isolation/changes-no-notebooks",
        "editors change the notebooks of all namespaces",
    ),
    Fault::new(
        "platform/isolation/reads-no-secrets",
        "editors list the Secrets of all namespaces",
    ),
    Fault::new(
        "platform/isolation/reads-no-secrets:one",
        "editors read any Secret whose name they know",
    ),
    Fault::new(
        "platform/isolation/reads-no-pods",
        "editors see the pods of all namespaces",
    ),
    Fault::new(
        "platform/isolation/runs-no-pods",
        "editors run pods in all namespaces",
    ),
    Fault::new(
        "platform/isolation/changes-no-config",
        "editors change the ConfigMaps of all namespaces",
    ),
    Fault::new(
        "platform/isolation/uses-no-kinds",
        "editors see the Katib experiments of all namespaces",
    ),
    Fault::new(
        "platform/isolation/owner-stays-at-home",
        "the owner of a Profile is bound in the whole cluster",
    ),
    Fault::new(
        "platform/poddefault/requires-selector",
        "a PodDefault needs no selector",
    ),
    Fault::new(
        "platform/poddefault/injects-environment",
        "only the first container gets variables",
    ),
    Fault::new(
        "platform/poddefault/injects-volumes",
        "volumes of PodDefaults are left out",
    ),
    Fault::new(
        "platform/poddefault/injects-volumes:mount",
        "volumes of PodDefaults are mounted nowhere",
    ),
    Fault::new(
        "platform/poddefault/selects-by-label",
        "it suffices that a pod has the label, whatever its value",
    ),
    Fault::new(
        "platform/poddefault/selects-by-expression",
        "expressions in a selector are ignored",
    ),
    Fault::new(
        "platform/poddefault/leaves-other-namespaces",
        "PodDefaults are applied in all namespaces",
    ),
    Fault::new(
        "platform/poddefault/merges-several",
        "the first PodDefault that fits is the only one",
    ),
    Fault::new(
        "platform/poddefault/keeps-identical-once",
        "a variable that two PodDefaults give alike is there twice",
    ),
    Fault::new(
        "platform/poddefault/refuses-conflict",
        "the first value of a variable wins",
    ),
    Fault::new(
        "platform/poddefault/refuses-volume-conflict",
        "the first volume of a name wins",
    ),
    Fault::new(
        "platform/poddefault/refuses-volume-conflict:path",
        "two volumes may be mounted in one place",
    ),
    Fault::new(
        "platform/poddefault/follows-updates",
        "a PodDefault stays as it was first read",
    ),
    Fault::new(
        "platform/poddefault/honours-exclusion",
        "the annotation that excludes a pod is ignored",
    ),
    Fault::new(
        "platform/poddefault/keeps-own-command",
        "the command of a container is replaced",
    ),
    Fault::new(
        "platform/poddefault/injects-metadata",
        "labels of PodDefaults are left out",
    ),
    Fault::new(
        "platform/poddefault/injects-metadata:annotations",
        "annotations of PodDefaults are left out",
    ),
    Fault::new(
        "platform/poddefault/injects-scheduling",
        "tolerations of PodDefaults are left out",
    ),
    Fault::new(
        "platform/poddefault/injects-scheduling:secrets",
        "pull secrets of PodDefaults are left out",
    ),
    Fault::new(
        "platform/poddefault/injects-sources",
        "`envFrom` of PodDefaults is left out",
    ),
    Fault::new(
        "platform/poddefault/sets-service-account",
        "the service account of PodDefaults is left out",
    ),
    Fault::new(
        "platform/poddefault/adds-containers",
        "init containers of PodDefaults are left out",
    ),
    Fault::new(
        "platform/poddefault/adds-containers:sidecars",
        "sidecars of PodDefaults are left out",
    ),
    Fault::new(
        "platform/poddefault/marks-pods",
        "pods do not say which PodDefaults changed them",
    ),
    Fault::new("platform/kfam/lists-owner", "owners are not listed"),
    Fault::new(
        "platform/kfam/adds-contributor",
        "a contributor is accepted and nothing is done",
    ),
    Fault::new(
        "platform/kfam/names-as-documented",
        "bindings of contributors have another name",
    ),
    Fault::wide(
        "platform/kfam/viewer-only-reads",
        "viewers become editors",
        "the dashboard tells of a viewer the role that KFAM gave",
    ),
    Fault::wide(
        "platform/kfam/removes-contributor",
        "who is taken out keeps the binding",
        "the dashboard removes contributors through KFAM",
    ),
    Fault::new(
        "platform/kfam/removes-contributor:policy",
        "who is taken out keeps the policy that lets him in",
    ),
    Fault::new(
        "platform/kfam/filters-by-role",
        "the role that is asked for is ignored",
    ),
    Fault::new(
        "platform/kfam/filters-by-user",
        "the user who is asked for is ignored",
    ),
    Fault::new("platform/kfam/refuses-stranger", "whoever asks is let in"),
    Fault::new(
        "platform/kfam/refuses-foreign-removal",
        "anybody may take contributors out",
    ),
    Fault::new(
        "platform/kfam/contributor-adds-nobody",
        "contributors may let others in",
    ),
    Fault::new(
        "platform/kfam/needs-identity",
        "who does not say who he is administers the cluster",
    ),
    Fault::new(
        "platform/kfam/answers-cluster-admin",
        "the answer is an object",
    ),
    Fault::new(
        "platform/kfam/answers-cluster-admin:everybody",
        "everybody administers the cluster",
    ),
    Fault::new(
        "platform/kfam/creates-profile",
        "a new Profile belongs to the server",
    ),
    Fault::new(
        "platform/kfam/deletes-profile",
        "only the namespace is deleted, which comes again",
    ),
    Fault::new(
        "platform/kfam/refuses-foreign-deletion",
        "anybody may delete a Profile",
    ),
    Fault::new(
        "platform/dashboard/knows-who-has-a-namespace",
        "nobody is said to have a namespace",
    ),
    Fault::new(
        "platform/dashboard/knows-who-has-a-namespace:everybody",
        "everybody is said to have a namespace",
    ),
    Fault::new(
        "platform/dashboard/lists-own-namespaces",
        "the namespaces that somebody owns are not listed",
    ),
    Fault::wide(
        "platform/dashboard/lists-own-namespaces:all",
        "everybody's namespaces are listed",
        "who has none has all, and so a role that is not theirs",
    ),
    Fault::new(
        "platform/dashboard/tells-roles",
        "contributors are said to be owners",
    ),
    Fault::new(
        "platform/dashboard/lists-contributors",
        "the owner is listed among the contributors",
    ),
    Fault::new(
        "platform/dashboard/adds-contributors",
        "a contributor is accepted and nothing is done",
    ),
    Fault::new(
        "platform/dashboard/removes-contributors",
        "a removal answers well and does nothing",
    ),
    Fault::new(
        "platform/dashboard/refuses-strangers",
        "whoever asks is let in",
    ),
    Fault::new(
        "platform/dashboard/needs-identity",
        "who does not say who he is may ask everything",
    ),
    Fault::new(
        "platform/dashboard/keeps-events-private",
        "events are shown to strangers",
    ),
];
