//! A boot set in a registry: an index of its own manifest and those of all that it names, so that whoever mirrors the one tag has
//! everything. Pure.

use overboot_bootset::{Blob, BootSet};
use overboot_store::{Descriptor, Layer, layout};

use crate::document::{INDEX, Index, MANIFEST};

/// What a set's index says it is.
pub(crate) const ARTIFACT_TYPE: &str = "application/vnd.overboot.set.v1";

/// Something that a set names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Part {
    /// `kernel`, `base/base`; `initrd/` and `firmware/`, of which the set does not say which.
    pub(crate) target: String,
    pub(crate) blob: Descriptor,
}

impl Part {
    /// May the artifact of this name be it?
    pub(crate) fn fits(&self, target: &str) -> bool {
        match self.target.strip_suffix('/') {
            Some(kind) => target.strip_prefix(kind).is_some_and(|name| name.starts_with('/')),
            None => target == self.target,
        }
    }
}

/// All that a set names, each once.
pub(crate) fn parts(set: &BootSet) -> Vec<Part> {
    let part = |target: String, blob: Blob| {
        let blob = Descriptor { digest: blob.digest, size: blob.size };
        Part { target, blob }
    };
    let mut all = vec![part("kernel".to_owned(), set.kernel)];
    all.extend(set.initrd.iter().map(|blob| part("initrd/".to_owned(), *blob)));
    all.extend(set.firmware.iter().map(|one| part("firmware/".to_owned(), one.blob())));
    all.extend(
        set.modules.iter().map(|layer| part(format!("modules/{}", layer.name), layer.blob())),
    );
    all.push(part(format!("base/{}", set.base.name), set.base.blob()));
    let overlays = set.overlays.iter();
    all.extend(overlays.map(|layer| part(format!("overlay/{}", layer.name), layer.blob())));
    all.dedup();
    all
}

/// The index: the set's own manifest first.
pub(crate) fn index(target: &str, manifests: &[(String, Descriptor)]) -> Index {
    let entry = |(target, manifest): &(String, Descriptor)| {
        Layer::new(MANIFEST, *manifest).annotated(layout::TARGET, target)
    };
    Index {
        schema_version: 2,
        media_type: INDEX.to_owned(),
        artifact_type: Some(ARTIFACT_TYPE.to_owned()),
        manifests: manifests.iter().map(entry).collect(),
        annotations: [(layout::TARGET.to_owned(), target.to_owned())].into(),
    }
}
