//! Debian's relations as the solver's clauses. The only file that knows how the solver wants to be asked.
//!
//! Each name has at most one candidate, so that the number of a name is also the number of its candidate.
//! A dependency becomes a requirement: the union, in the order of preference, of one-candidate sets. A
//! conflict becomes a constraint to the empty set on each name whose candidate it hits. A recommendation is
//! a requirement with a last alternative that stands for doing without; that one is a name of its own, so
//! that doing without one thing does not excuse from the next.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};

use overboot_debian::relation::{self, Dependency, Relation, Relations};
use overboot_debian::version::Version;
use resolvo::{
    Candidates, Condition, ConditionId, ConditionalRequirement, Dependencies, DependencyProvider,
    HintDependenciesAvailable, Interner, KnownDependencies, NameId, Requirement, SolvableId,
    SolverCache, StringId, VersionSetId, VersionSetUnionId,
};

use super::request::{Installed, Variant};
use crate::universe::{MultiArch, Package, RelationField, Universe};

/// Why something is a requirement of the whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Because {
    /// It is installed.
    Base,
    /// The variant has it.
    Variant(Variant),
    /// The request names it.
    Asked,
}

/// What a name stands for in this problem.
#[derive(Debug, Clone)]
enum Candidate<'u> {
    /// The archive's package, free to be chosen.
    Free(&'u Package),
    /// Installed. Its relations are those of the archive's package of this name, in the same version
    /// or, where the archive has moved on, the candidate's: the nearest that is known.
    Fixed { version: Version, model: Option<&'u Package> },
    /// Stands for doing without a recommended package.
    Without,
    /// No package: an unknown, a virtual or an excluded name.
    None,
}

/// A set of versions of one name: all of its candidates (there is at most one) or none.
#[derive(Debug)]
struct VersionSet {
    name: NameId,
    full: bool,
    text: String,
}

/// A dependency of a package or of the whole.
#[derive(Debug)]
struct Union {
    sets: Vec<VersionSetId>,
    dependency: Dependency,
    because: Option<Because>,
}

#[derive(Debug, Default)]
struct Interned<'u> {
    ids: HashMap<String, NameId>,
    names: Vec<String>,
    candidates: Vec<Candidate<'u>>,
    sets: Vec<VersionSet>,
    unions: Vec<Union>,
    /// Unions by their text, so that a dependency that many packages have is one clause.
    union_ids: HashMap<String, VersionSetUnionId>,
    strings: Vec<String>,
}

/// A request, as the solver sees it.
#[derive(Debug)]
pub(super) struct Problem<'u> {
    universe: &'u Universe,
    recommends: bool,
    /// Names whose candidate is not simply the universe's.
    settled: HashMap<String, Candidate<'u>>,
    /// Those of them that are only preferred.
    held: HashSet<String>,
    interned: RefCell<Interned<'u>>,
}

impl<'u> Problem<'u> {
    pub(super) fn new(universe: &'u Universe, recommends: bool) -> Self {
        Self {
            universe,
            recommends,
            settled: HashMap::new(),
            held: HashSet::new(),
            interned: RefCell::new(Interned::default()),
        }
    }

    /// Nobody may have this package.
    pub(super) fn exclude(&mut self, name: &str) {
        self.settled.insert(name.to_owned(), Candidate::None);
    }

    /// May nobody have this package?
    pub(super) fn is_excluded(&self, name: &str) -> bool {
        matches!(self.settled.get(name), Some(Candidate::None))
    }

    /// This package is installed, in this version.
    pub(super) fn fix(&mut self, installed: &Installed) {
        let same = |package: &&Package| package.version == installed.version;
        let model = self.universe.versions(&installed.name).find(same);
        let model = model.or_else(|| self.universe.candidate(&installed.name));
        let candidate = Candidate::Fixed { version: installed.version.clone(), model };
        self.settled.insert(installed.name.clone(), candidate);
    }

    /// Of this name, only this package is meant.
    pub(super) fn choose(&mut self, package: &'u Package) {
        self.settled.insert(package.name.clone(), Candidate::Free(package));
    }

    /// The same, though nobody asked for that.
    pub(super) fn hold(&mut self, package: &'u Package) {
        self.held.insert(package.name.clone());
        self.choose(package);
    }

    /// The requirement that the whole has this package.
    pub(super) fn root(&self, name: &str, because: Because) -> ConditionalRequirement {
        self.root_dependency(&Dependency(vec![Relation::to_any(name)]), because)
    }

    /// The requirement that the whole satisfies this dependency.
    pub(super) fn root_dependency(
        &self,
        dependency: &Dependency,
        because: Because,
    ) -> ConditionalRequirement {
        self.requirement(dependency, Some(because)).into()
    }

    /// The package behind a part of the solution, unless it was installed before.
    pub(super) fn new_package(&self, id: SolvableId) -> Option<&'u Package> {
        match self.candidate(same_name(id)) {
            Candidate::Free(package) => Some(package),
            Candidate::Fixed { .. } | Candidate::Without | Candidate::None => None,
        }
    }

    /// What a requirement is about, and why the whole has it if it does.
    pub(super) fn requirement_of(&self, id: Requirement) -> Option<(Dependency, Option<Because>)> {
        match id {
            Requirement::Union(id) => {
                let interned = self.interned.borrow();
                let union = interned.unions.get(id.0 as usize)?;
                Some((union.dependency.clone(), union.because))
            }
            Requirement::Single(_) => None,
        }
    }

    /// Name and version of a part of the solution or of a conflict.
    pub(super) fn show(&self, id: SolvableId) -> String {
        let name = self.interned.borrow().names[id.into_raw() as usize].clone();
        match self.candidate(same_name(id)) {
            Candidate::Free(package) => format!("{name} {}", package.version),
            Candidate::Fixed { version, .. } => format!("{name} {version} (installed)"),
            Candidate::Without | Candidate::None => name,
        }
    }

    /// Why a relation has nobody to satisfy it.
    pub(super) fn why_nobody(&self, relation: &Relation) -> String {
        let name = &relation.name;
        let candidate = self.candidate(self.name(name));
        match (candidate, self.settled.contains_key(name)) {
            (Candidate::None, true) => format!("{name} is excluded"),
            (Candidate::Fixed { version, .. }, _) => {
                format!("{name} is installed in version {version} and stays as it is")
            }
            (Candidate::Free(package), true) if self.held.contains(name) => {
                format!("{name} is held in version {}", package.version)
            }
            (Candidate::Free(package), true) => {
                format!("{name} was asked for in version {}", package.version)
            }
            (Candidate::Free(package), false) => {
                format!("the suites have {name} {}", package.version)
            }
            (Candidate::None | Candidate::Without, _) => {
                let mut listed = self.universe.versions(name).filter(|package| package.is_listed);
                if let Some(package) = listed.next() {
                    format!(
                        "{name} has the priority {}, with which it is never taken",
                        package.pin_priority()
                    )
                } else if self.universe.providers(name).next().is_some() {
                    format!("no package that provides {name} can be taken")
                } else {
                    format!("no package in the suites is or provides {name}")
                }
            }
        }
    }

    /// The number of a name; a new one where the name is new.
    fn name(&self, name: &str) -> NameId {
        let known = self.interned.borrow().ids.get(name).copied();
        known.unwrap_or_else(|| {
            let candidate = match self.settled.get(name) {
                Some(candidate) => candidate.clone(),
                None => self.universe.candidate(name).map_or(Candidate::None, Candidate::Free),
            };
            self.new_name(name, candidate)
        })
    }

    fn new_name(&self, name: &str, candidate: Candidate<'u>) -> NameId {
        let mut interned = self.interned.borrow_mut();
        let id = NameId::from_raw(small(interned.names.len()));
        interned.ids.insert(name.to_owned(), id);
        interned.names.push(name.to_owned());
        interned.candidates.push(candidate);
        id
    }

    fn candidate(&self, name: NameId) -> Candidate<'u> {
        self.interned.borrow().candidates[name.into_raw() as usize].clone()
    }

    fn set(&self, name: NameId, full: bool, text: String) -> VersionSetId {
        let mut interned = self.interned.borrow_mut();
        interned.sets.push(VersionSet { name, full, text });
        VersionSetId(small(interned.sets.len() - 1))
    }

    fn requirement(&self, dependency: &Dependency, because: Option<Because>) -> Requirement {
        let text = format!("{because:?} {dependency}");
        if let Some(&id) = self.interned.borrow().union_ids.get(&text) {
            return id.into();
        }
        let mut sets = Vec::new();
        for relation in &dependency.0 {
            for name in self.matching(relation) {
                sets.push(self.set(name, true, relation.to_string()));
            }
        }
        if sets.is_empty() {
            let name = self.name(&dependency.0[0].name);
            sets.push(self.set(name, false, dependency.to_string()));
        }
        let id = self.union(Union { sets, dependency: dependency.clone(), because });
        self.interned.borrow_mut().union_ids.insert(text, id);
        id.into()
    }

    /// A dependency that may go unsatisfied.
    fn recommendation(&self, by: &str, dependency: &Dependency) -> Requirement {
        let without = format!("without \"{dependency}\" of {by}");
        let mut sets = Vec::new();
        for relation in &dependency.0 {
            for name in self.matching(relation) {
                sets.push(self.set(name, true, relation.to_string()));
            }
        }
        let name = self.new_name(&without, Candidate::Without);
        sets.push(self.set(name, true, without));
        self.union(Union { sets, dependency: dependency.clone(), because: None }).into()
    }

    fn union(&self, union: Union) -> VersionSetUnionId {
        let mut interned = self.interned.borrow_mut();
        interned.unions.push(union);
        VersionSetUnionId(small(interned.unions.len() - 1))
    }

    /// The names whose candidates satisfy a relation (or, for a conflict, are hit by it): the real package
    /// first, then the providers, of those the essential and usual ones first, then by name; as apt does.
    fn matching(&self, relation: &Relation) -> Vec<NameId> {
        let mut names = Vec::new();
        if !relation.applies_to(self.universe.architecture()) {
            return names;
        }
        let real = self.name(&relation.name);
        if let Some((version, model)) = version_of(&self.candidate(real))
            && relation.admits(Some(version))
            && model.is_none_or(|package| self.qualifies(relation, package))
        {
            names.push(real);
        }
        let mut providers: Vec<&Package> = self.universe.providers(&relation.name).collect();
        providers.sort_by_key(|p| (!p.essential, p.priority, p.name.as_str()));
        for package in providers {
            let name = self.name(&package.name);
            let taken = match self.candidate(name) {
                Candidate::Free(candidate) => std::ptr::eq(candidate, package).then_some(None),
                Candidate::Fixed { version, model } => {
                    model.is_some_and(|m| std::ptr::eq(m, package)).then_some(Some(version))
                }
                Candidate::Without | Candidate::None => None,
            };
            let Some(installed) = taken else { continue };
            if !names.contains(&name) && self.provides(package, installed.as_ref(), relation) {
                names.push(name);
            }
        }
        names
    }

    /// Whether a package provides what a relation names. `installed` is its version if it is installed.
    fn provides(
        &self,
        package: &Package,
        installed: Option<&Version>,
        relation: &Relation,
    ) -> bool {
        let Ok(provided) = package.relations(RelationField::Provides) else { return false };
        provided.0.iter().flat_map(|dependency| &dependency.0).any(|provided| {
            let version = provided.version.as_ref().map(|(_, version)| version);
            // What is provided in the package's own version follows it to the installed one.
            let version = match (version, installed) {
                (Some(version), Some(installed)) if *version == package.version => Some(installed),
                (version, _) => version,
            };
            provided.name == relation.name
                && relation.admits(version)
                && (self.qualifies(relation, package) || provided.qualifier == relation.qualifier)
        })
    }

    /// Whether the architecture qualifier of a relation lets this package satisfy it.
    fn qualifies(&self, relation: &Relation, package: &Package) -> bool {
        match relation.qualifier.as_deref() {
            None | Some("native") => true,
            // dpkg: only packages that say so may stand in for any architecture.
            Some("any") => package.multi_arch == MultiArch::Allowed,
            Some(architecture) => architecture == self.universe.architecture(),
        }
    }

    fn dependencies(&self, id: SolvableId) -> Result<KnownDependencies, relation::Error> {
        let mut known = KnownDependencies::default();
        let own = same_name(id);
        let (package, free) = match self.candidate(own) {
            Candidate::Free(package) => (package, true),
            Candidate::Fixed { model: Some(package), .. } => (package, false),
            Candidate::Fixed { model: None, .. } | Candidate::Without | Candidate::None => {
                return Ok(known);
            }
        };
        if free {
            for field in [RelationField::PreDepends, RelationField::Depends] {
                for dependency in &package.relations(field)?.0 {
                    known.requirements.push(self.requirement(dependency, None).into());
                }
            }
            if self.recommends {
                for dependency in &package.relations(RelationField::Recommends)?.0 {
                    known.requirements.push(self.recommendation(&package.name, dependency).into());
                }
            }
        }
        for (field, verb) in
            [(RelationField::Conflicts, "conflicts with"), (RelationField::Breaks, "breaks")]
        {
            let Relations(conflicts) = package.relations(field)?;
            for relation in conflicts.iter().flat_map(|dependency| &dependency.0) {
                for name in self.matching(relation) {
                    // Policy 7.6.2: a package may conflict with a name that it provides itself.
                    if name != own {
                        let text = format!("{verb} {}", self.hit(relation, name));
                        known.constrains.push(self.set(name, false, text));
                    }
                }
            }
        }
        Ok(known)
    }

    /// What a conflict names, and in whom it finds that.
    fn hit(&self, relation: &Relation, name: NameId) -> String {
        let hit = self.show(SolvableId::from_raw(name.into_raw()));
        if hit.split(' ').next() != Some(relation.name.as_str()) {
            format!("{relation}, which {hit} provides")
        } else if relation.version.is_some() {
            format!("{relation}, and there is {hit}")
        } else {
            hit
        }
    }
}

/// The version of a candidate, and the package whose relations it has.
fn version_of<'a, 'u>(candidate: &'a Candidate<'u>) -> Option<(&'a Version, Option<&'a Package>)> {
    match candidate {
        Candidate::Free(package) => Some((&package.version, Some(*package))),
        Candidate::Fixed { version, model } => Some((version, *model)),
        Candidate::Without | Candidate::None => None,
    }
}

/// The name of a candidate: the same number.
fn same_name(id: SolvableId) -> NameId {
    NameId::from_raw(id.into_raw())
}

/// Numbers of things that are each made from at least one byte of an index; those are below 4 GiB.
fn small(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

impl Interner for Problem<'_> {
    type NameId = NameId;
    type SolvableId = SolvableId;

    fn display_solvable(&self, id: SolvableId) -> impl std::fmt::Display + '_ {
        self.show(id)
    }

    fn display_name(&self, id: NameId) -> impl std::fmt::Display + '_ {
        self.interned.borrow().names[id.into_raw() as usize].clone()
    }

    fn display_version_set(&self, id: VersionSetId) -> impl std::fmt::Display + '_ {
        self.interned.borrow().sets[id.0 as usize].text.clone()
    }

    fn display_string(&self, id: StringId) -> impl std::fmt::Display + '_ {
        self.interned.borrow().strings[id.0 as usize].clone()
    }

    fn version_set_name(&self, id: VersionSetId) -> NameId {
        self.interned.borrow().sets[id.0 as usize].name
    }

    fn solvable_name(&self, id: SolvableId) -> NameId {
        same_name(id)
    }

    fn version_sets_in_union(&self, id: VersionSetUnionId) -> impl Iterator<Item = VersionSetId> {
        self.interned.borrow().unions[id.0 as usize].sets.clone().into_iter()
    }

    fn resolve_condition(&self, id: ConditionId) -> Condition {
        // No requirement here is conditional, so nobody asks; a condition on itself means nothing.
        Condition::Requirement(VersionSetId(id.as_u32()))
    }
}

impl DependencyProvider for Problem<'_> {
    async fn filter_candidates(
        &self,
        candidates: &[SolvableId],
        set: VersionSetId,
        inverse: bool,
    ) -> Vec<SolvableId> {
        let full = self.interned.borrow().sets[set.0 as usize].full;
        if full == inverse { Vec::new() } else { candidates.to_vec() }
    }

    async fn get_candidates(&self, name: NameId) -> Option<Candidates> {
        let candidates = match self.candidate(name) {
            Candidate::None => Vec::new(),
            Candidate::Free(_) | Candidate::Fixed { .. } | Candidate::Without => {
                vec![SolvableId::from_raw(name.into_raw())]
            }
        };
        let hint_dependencies_available = HintDependenciesAvailable::None;
        Some(Candidates { candidates, hint_dependencies_available, ..Candidates::default() })
    }

    async fn sort_candidates(&self, _: &SolverCache<Self>, _: &mut [SolvableId]) {
        // A name has at most one.
    }

    async fn get_dependencies(&self, id: SolvableId) -> Dependencies {
        match self.dependencies(id) {
            Ok(known) => Dependencies::Known(known),
            Err(error) => {
                let mut interned = self.interned.borrow_mut();
                interned.strings.push(format!("its relations cannot be read: {error}"));
                Dependencies::Unknown(StringId(small(interned.strings.len() - 1)))
            }
        }
    }
}
