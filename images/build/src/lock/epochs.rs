//! Times that are taken over from the lock that is there.

use overboot_digest::Digest;
use overboot_recipe::{Lock, LockedPackage, LockedStage};

/// An image whose packages are what they were keeps its time, and with it stays what it is when only others' packages change. So do
/// the stages of one.
pub(super) fn keep(old: &Lock, lock: &mut Lock) {
    let targets: Vec<String> = lock.images.keys().cloned().collect();
    for target in targets.into_iter().filter(|target| old.images.contains_key(target)) {
        let [before, now] = [old, &*lock].map(|lock| lock.steps(&target).into_iter().map(files));
        let same = before.eq(now);
        let kept = |stage: &LockedStage| {
            let [before, now] =
                [old, &*lock].map(|lock| files(lock.first_step(&target, ..stage.batches)));
            let mut stages = old.stages_of(&target).iter();
            stages.find(|old| before == now && old.batches == stage.batches).copied()
        };
        let stages = lock.stages_of(&target).iter();
        let stages = stages.map(|stage| kept(stage).unwrap_or(*stage)).collect();
        let (epoch, current) = (old.epoch_of(&target), lock.epoch);
        if let Some(image) = lock.images.get_mut(&target) {
            image.stages = stages;
            image.epoch = Some(epoch).filter(|epoch| same && *epoch != current);
        }
    }
}

fn files(batches: Vec<Vec<&LockedPackage>>) -> Vec<Vec<Digest>> {
    let files = |batch: Vec<&LockedPackage>| batch.iter().map(|package| package.sha256).collect();
    batches.into_iter().map(files).collect()
}
