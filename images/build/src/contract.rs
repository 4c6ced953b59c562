//! The overlay contract in the store: facts beside each base and overlay, and what they say of an overlay on another base.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::rc::Rc;

use overboot_contract::{Base, BuiltOn, Content, Judgement, Overlay, judge};
use overboot_pack::tree::Entry;
use overboot_recipe::{Lock, Provisioner, Recipe};
use overboot_record::{CONTRACT, Listing, Look};
use overboot_store::{Artifact, Layer, Store};

use crate::error::Error;
use crate::execute::{Goal, prepare};
use crate::plan::{Plan, Target};
use crate::project::Project;

/// More facts than an image has.
const LARGEST: u64 = 512 << 20;
/// Facts are read far more often than written, and are a thousandth of what a node fetches: it never fetches them.
const LEVEL: i32 = 9;

/// How an image is looked into for its facts.
pub(crate) const LOOK: Look<Content> = Look { wants: Content::wants, see: Content::of };

/// What was found about one overlay.
#[derive(Debug, Clone)]
pub struct Checked {
    /// Its target.
    pub overlay: String,
    /// The base that it was held against, as it was named.
    pub base: String,
    /// What is to be done about it, and why.
    pub judgement: Judgement,
}

/// What was found about all overlays of a store.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Each overlay.
    pub overlays: Vec<Checked>,
    /// Bases and overlays that are not what recipe and lock mean by now, an overlay not only because of its base: each was taken
    /// as it is in the store.
    pub outdated: Vec<String>,
}

/// What overlays are held against.
#[derive(Debug, Clone)]
pub enum Against<'a> {
    /// What the store has of the base that each was made for.
    Own,
    /// What another store has of it.
    Store(&'a Store),
    /// This base of that store.
    Base(&'a Store, &'a Artifact),
}

/// Holds every overlay of the project's store against a base, and builds nothing. With a lock, what overlays lack is no conflict
/// where they would be made of other things by now.
///
/// # Errors
/// There is no such base, or something cannot be read.
pub fn check(
    project: &Project,
    recipe: &Recipe,
    lock: Option<&Lock>,
    node: &[u8],
    against: &Against<'_>,
) -> Result<Report, Error> {
    let store = project.store()?;
    let plan = match lock {
        Some(lock) => Some(prepare(project, recipe, lock, node, Goal::default())?.0),
        None => None,
    };
    let mut report = Report::default();
    let mut bases = Bases { store: &store, against, known: BTreeMap::new() };
    for target in store.targets()?.into_iter().filter(|target| target.starts_with("overlay/")) {
        let Some(artifact) = store.get(&target)? else { continue };
        let (base, judgement) = match overlay_facts(&store, &artifact)? {
            Some(facts) => {
                let base = bases.below(&facts)?;
                let renewed = plan.as_ref().is_some_and(|plan| is_renewed(plan, &target));
                (facts.base.target.clone(), judge(&facts, &base, renewed))
            }
            None => ("its base".to_owned(), Judgement::unknown()),
        };
        let base = match against {
            Against::Base(_, artifact) => artifact.target.clone(),
            Against::Own | Against::Store(_) => base,
        };
        report.overlays.push(Checked { overlay: target, base, judgement });
    }
    let looked_at = |target: &String| {
        report.overlays.iter().any(|seen| seen.overlay == *target || seen.base == *target)
    };
    let steps =
        plan.iter().filter(|_| matches!(against, Against::Own)).flat_map(|plan| &plan.steps);
    let outdated = steps.filter(|step| step.runs() && !step.only_base_changed);
    report.outdated = outdated.map(|step| step.target.to_string()).filter(looked_at).collect();
    Ok(report)
}

/// Does an overlay that was built on another state of its base hold on what the store has of it now?
pub(crate) fn holds(store: &Store, overlay: &Target) -> Result<bool, Error> {
    let Some(artifact) = store.get(&overlay.to_string())? else { return Ok(false) };
    let Some(facts) = overlay_facts(store, &artifact)? else { return Ok(false) };
    let mut bases = Bases { store, against: &Against::Own, known: BTreeMap::new() };
    let base = bases.below(&facts)?;
    Ok(judge(&facts, &base, false).verdict == overboot_contract::Verdict::Valid)
}

/// Would the overlay be made of other things than it was made of, besides its base?
fn is_renewed(plan: &Plan, overlay: &str) -> bool {
    let step = plan.steps.iter().find(|step| step.target.to_string() == overlay);
    step.is_some_and(|step| step.runs() && !step.only_base_changed)
}

/// The facts of a base or an overlay whose image was just written and has these entries, as a layer beside it; none of anything
/// else.
pub(crate) fn of_image(
    store: &Store,
    recipe: &Recipe,
    target: &Target,
    entries: Vec<(Entry, Option<Content>)>,
) -> Result<Option<Layer>, Error> {
    let bytes = match target {
        Target::Base(_) => Base::of(entries)?.to_bytes(),
        Target::Overlay(name) => {
            let Some(overlay) = recipe.overlays.get(name) else { return Ok(None) };
            let below = Target::Base(overlay.base.value.clone()).to_string();
            let Some(artifact) = store.get(&below)? else { return Err(missing(store, &below)) };
            let built_on = BuiltOn { target: below, image: artifact.layer().digest };
            let base = base_facts(store, &artifact)?;
            Overlay::of(name, built_on, fixed(&overlay.provision), entries, &base)?.to_bytes()
        }
        _ => return Ok(None),
    };
    let compressed = zstd::bulk::compress(&bytes, LEVEL);
    let compressed = compressed.map_err(Error::io("compress the facts of", store.dir()))?;
    Ok(Some(Layer::new(CONTRACT, store.put_bytes(&compressed)?)))
}

/// The users to whom the recipe gives a number.
fn fixed(provision: &[Provisioner]) -> BTreeSet<String> {
    let users = provision.iter().filter_map(|step| match step {
        Provisioner::Users(users) => Some(users),
        _ => None,
    });
    let numbered = users.flatten().filter(|user| user.uid.is_some());
    numbered.map(|user| user.name.value.clone()).collect()
}

/// The base beneath each overlay, read once.
struct Bases<'a> {
    store: &'a Store,
    against: &'a Against<'a>,
    known: BTreeMap<String, Rc<Base>>,
}

impl Bases<'_> {
    fn below(&mut self, overlay: &Overlay) -> Result<Rc<Base>, Error> {
        let target = &overlay.base.target;
        if let Some(known) = self.known.get(target) {
            return Ok(Rc::clone(known));
        }
        let named = |store: &Store| match store.get(target)? {
            Some(artifact) => base_facts(store, &artifact),
            None => Err(missing(store, target)),
        };
        let facts = Rc::new(match self.against {
            Against::Own => named(self.store)?,
            Against::Store(store) => named(store)?,
            Against::Base(store, artifact) => base_facts(store, artifact)?,
        });
        self.known.insert(target.clone(), Rc::clone(&facts));
        Ok(facts)
    }
}

/// What is known of a base: what was written down when it was made here, otherwise what its image says. The facts are signed by
/// nobody, and the image is what a set names.
fn base_facts(store: &Store, artifact: &Artifact) -> Result<Base, Error> {
    if artifact.made_here
        && let Some(layer) = artifact.manifest.layers.iter().find(|layer| is_facts(layer))
        && let Ok(facts) = Base::parse(&written(store, layer)?)
    {
        return Ok(facts);
    }
    let image = store.blob_path(&artifact.layer().digest);
    Ok(Base::of(Listing::of_squashfs(&image, LOOK)?.entries)?)
}

/// What was written down of an overlay; nothing where nothing was, or in a way that is not known here.
fn overlay_facts(store: &Store, artifact: &Artifact) -> Result<Option<Overlay>, Error> {
    let layer = artifact.manifest.layers.iter().find(|layer| is_facts(layer));
    let Some(layer) = layer else { return Ok(None) };
    Ok(Overlay::parse(&written(store, layer)?).ok())
}

fn is_facts(layer: &Layer) -> bool {
    layer.media_type == CONTRACT
}

fn written(store: &Store, layer: &Layer) -> Result<Vec<u8>, Error> {
    let path = store.blob_path(&layer.digest);
    let read = || {
        let file = std::io::BufReader::new(fs_err::File::open(&path)?);
        let mut bytes = Vec::new();
        zstd::Decoder::with_buffer(file)?.take(LARGEST).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    read().map_err(Error::io("read the facts in", &path))
}

fn missing(store: &Store, base: &str) -> Error {
    Error::told(
        format!("{base} is not in {}", store.dir().display()),
        format!(
            "run `overboot build {base}`, or name another base: `overboot check --base base/NAME`"
        ),
    )
}
