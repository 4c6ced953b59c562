//! In which order a set of packages can be unpacked and configured.
//!
//! Versions are not looked at: the set is one that [`super::resolve`] made. Where several have the name that a package depends on, one of
//! them fits; it counts as the first, where that may do, and as each of them, where it may not.
//! What is not in the set counts as there already.

use std::collections::HashMap;

use overboot_debian::relation::Relations;

use crate::universe::{Package, RelationField};

/// What has a name and relations: a package of an index, or one that was read from its `.deb`.
pub trait Related {
    /// The package's name.
    fn name(&self) -> &str;
    /// A relation field as the control file has it; empty where there is none.
    fn field(&self, field: RelationField) -> &str;
}

impl Related for Package {
    fn name(&self) -> &str {
        &self.name
    }

    fn field(&self, field: RelationField) -> &str {
        Self::field(self, field)
    }
}

impl<T: Related + ?Sized> Related for &T {
    fn name(&self) -> &str {
        (**self).name()
    }

    fn field(&self, field: RelationField) -> &str {
        (**self).field(field)
    }
}

/// The numbers of `packages`, each after those that it depends on.
///
/// Where packages depend on each other in a circle, what is pre-depended on goes first, then the names decide.
/// The order of `packages` does not matter.
pub fn order<T: Related>(packages: &[T]) -> Vec<usize> {
    let graph = Graph::of(packages);
    graph.components(&graph.by_name, Edges::All).concat()
}

/// The numbers of `packages` in batches, as few as there can be: unpack a batch, configure it, go on.
///
/// What a package pre-depends on is in a batch before its own (Policy 7.2), what it depends on is in one before
/// or in the same, so that each batch can be configured as a whole. Circles of dependencies are in one batch;
/// one that has a pre-dependency in it cannot be honoured, by nobody. Within a batch the order is that of
/// [`order`].
pub fn batches<T: Related>(packages: &[T]) -> Vec<Vec<usize>> {
    let graph = Graph::of(packages);
    let mut batch_of: Vec<Option<usize>> = vec![None; packages.len()];
    let mut batches = Vec::new();
    for component in graph.components(&graph.by_name, Edges::All) {
        // Inside the component there is no batch yet: what is needed there does not count.
        let unpacked = |package: usize| {
            graph.pre_depends[package].iter().filter_map(|&q| batch_of[q].map(|batch| batch + 1))
        };
        let configured =
            |package: usize| graph.depends[package].iter().filter_map(|&q| batch_of[q]);
        let batch = component
            .iter()
            .flat_map(|&package| unpacked(package).chain(configured(package)))
            .max()
            .unwrap_or(0);
        if batch == batches.len() {
            batches.push(Vec::new());
        }
        for &package in &component {
            batch_of[package] = Some(batch);
            batches[batch].push(package);
        }
    }
    batches
}

/// Which of `packages` are `chosen` or need, over however many others, one that is. Whoever may satisfy a dependency counts as needed.
///
/// The others need none of them, so that these can be installed last.
pub fn dependants<T: Related>(packages: &[T], mut chosen: Vec<bool>) -> Vec<bool> {
    let graph = Graph::wide(packages);
    for component in graph.components(&graph.by_name, Edges::All) {
        let needs = |&package: &usize| graph.neighbours(package, Edges::All).any(|n| chosen[n]);
        let one = component.iter().any(|at| chosen[*at] || needs(at));
        component.iter().for_each(|&at| chosen[at] = one);
    }
    chosen
}

/// Which of `packages` are `chosen` or needed, over however many others, by one that is. Whoever may satisfy a dependency counts as
/// needed.
pub fn dependencies<T: Related>(packages: &[T], mut chosen: Vec<bool>) -> Vec<bool> {
    let graph = Graph::wide(packages);
    let mut open: Vec<usize> = (0..packages.len()).filter(|&at| chosen[at]).collect();
    while let Some(package) = open.pop() {
        for needed in graph.neighbours(package, Edges::All) {
            if !std::mem::replace(&mut chosen[needed], true) {
                open.push(needed);
            }
        }
    }
    chosen
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Edges {
    /// Dependencies of both kinds.
    All,
    PreDepends,
}

/// Who needs whom within the set.
struct Graph {
    /// The numbers of all packages, sorted by name.
    by_name: Vec<usize>,
    pre_depends: Vec<Vec<usize>>,
    depends: Vec<Vec<usize>>,
}

impl Graph {
    /// Of all who may satisfy a dependency, the first is needed.
    fn of<T: Related>(packages: &[T]) -> Self {
        Self::with(packages, 1)
    }

    /// All who may satisfy a dependency are needed: which of them does, the version may decide.
    fn wide<T: Related>(packages: &[T]) -> Self {
        Self::with(packages, usize::MAX)
    }

    fn with<T: Related>(packages: &[T], satisfiers: usize) -> Self {
        let mut by_name: Vec<usize> = (0..packages.len()).collect();
        by_name.sort_by_key(|&number| (packages[number].name(), number));
        // A field that cannot be read has no say here: the solver takes no package that has one.
        let relations = |number: usize, field| {
            packages[number].field(field).parse::<Relations>().unwrap_or_default()
        };
        // Who has a name itself comes before those that provide it.
        let mut called: HashMap<String, Vec<usize>> = HashMap::new();
        for &number in &by_name {
            called.entry(packages[number].name().to_owned()).or_default().push(number);
        }
        for &number in &by_name {
            for relation in
                relations(number, RelationField::Provides).0.into_iter().flat_map(|d| d.0)
            {
                called.entry(relation.name).or_default().push(number);
            }
        }
        let needed = |field| {
            (0..packages.len())
                .map(|number| {
                    let dependencies = relations(number, field).0;
                    let mut needed: Vec<usize> = dependencies
                        .iter()
                        .flat_map(|dependency| {
                            let names = dependency.0.iter().map(|relation| &relation.name);
                            names.filter_map(|name| called.get(name)).flatten().take(satisfiers)
                        })
                        .copied()
                        .filter(|&needed| needed != number)
                        .collect();
                    needed.sort_by_key(|&needed| packages[needed].name());
                    needed.dedup();
                    needed
                })
                .collect()
        };
        Self {
            pre_depends: needed(RelationField::PreDepends),
            depends: needed(RelationField::Depends),
            by_name,
        }
    }

    fn neighbours(&self, package: usize, edges: Edges) -> impl Iterator<Item = usize> {
        let depends = match edges {
            Edges::All => self.depends[package].as_slice(),
            Edges::PreDepends => &[],
        };
        self.pre_depends[package].iter().chain(depends).copied()
    }

    /// The strongly connected components among `members`, each after those it depends on (Tarjan 1972, without
    /// recursion, since the depth is the archive's to choose). Those of several members are in the order of
    /// their pre-dependencies, then in that of `members`.
    fn components(&self, members: &[usize], edges: Edges) -> Vec<Vec<usize>> {
        let count = self.by_name.len();
        let mut place = vec![usize::MAX; count];
        for (index, &member) in members.iter().enumerate() {
            place[member] = index;
        }
        let mut found = vec![usize::MAX; count];
        let mut low = vec![usize::MAX; count];
        let mut open = vec![false; count];
        let (mut time, mut stack, mut components) = (0, Vec::new(), Vec::new());
        for &start in members {
            if found[start] != usize::MAX {
                continue;
            }
            let mut path: Vec<(usize, std::vec::IntoIter<usize>)> = Vec::new();
            let mut next = Some(start);
            loop {
                if let Some(package) = next.take() {
                    (found[package], low[package], open[package]) = (time, time, true);
                    time += 1;
                    stack.push(package);
                    let inside =
                        self.neighbours(package, edges).filter(|&n| place[n] != usize::MAX);
                    path.push((package, inside.collect::<Vec<_>>().into_iter()));
                }
                let Some((package, rest)) = path.last_mut() else { break };
                let package = *package;
                match rest.next() {
                    Some(needed) if found[needed] == usize::MAX => next = Some(needed),
                    Some(needed) if open[needed] => low[package] = low[package].min(found[needed]),
                    Some(_) => {}
                    None => {
                        path.pop();
                        if let Some((parent, _)) = path.last() {
                            low[*parent] = low[*parent].min(low[package]);
                        }
                        if low[package] == found[package] {
                            let at = stack.iter().rposition(|&p| p == package).unwrap_or(0);
                            let mut component = stack.split_off(at);
                            component.iter().for_each(|&member| open[member] = false);
                            component.sort_by_key(|&member| place[member]);
                            if component.len() > 1 && edges == Edges::All {
                                component = self.components(&component, Edges::PreDepends).concat();
                            }
                            components.push(component);
                        }
                    }
                }
            }
        }
        components
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Name, pre-dependencies, dependencies, provided names.
    struct Fake(&'static str, &'static str, &'static str, &'static str);

    impl Related for Fake {
        fn name(&self) -> &str {
            self.0
        }

        fn field(&self, field: RelationField) -> &str {
            match field {
                RelationField::PreDepends => self.1,
                RelationField::Depends => self.2,
                RelationField::Provides => self.3,
                _ => "",
            }
        }
    }

    fn ordered(packages: &[Fake]) -> String {
        order(packages).iter().map(|&n| packages[n].0).collect::<Vec<_>>().join(" ")
    }

    fn batched(packages: &[Fake]) -> String {
        let name = |n: &usize| packages[*n].0;
        let batch = |batch: &Vec<usize>| batch.iter().map(name).collect::<Vec<_>>().join(" ");
        batches(packages).iter().map(batch).collect::<Vec<_>>().join(" / ")
    }

    #[test]
    fn dependencies_first_then_names() {
        assert_eq!(ordered(&[]), "");
        let set = [
            Fake("z", "", "absent | b (>= 1), absent", ""),
            Fake("c", "", "virtual", ""),
            Fake("a", "", "c", ""),
            Fake("b", "", "", "virtual (= 2)"),
        ];
        assert_eq!(ordered(&set), "b c a z");
        assert_eq!(batched(&set), "b c a z");
    }

    #[test]
    fn circles_are_broken_the_same_way_every_time() {
        assert_eq!(ordered(&[Fake("b", "", "a", ""), Fake("a", "", "b", "")]), "a b");
        assert_eq!(ordered(&[Fake("a", "", "b", ""), Fake("b", "", "a", "")]), "a b");
        // A pre-dependency weighs more than a name.
        assert_eq!(ordered(&[Fake("a", "b", "", ""), Fake("b", "", "a", "")]), "b a");
        assert_eq!(batched(&[Fake("a", "b", "", ""), Fake("b", "", "a", "")]), "b a");
        assert_eq!(batched(&[Fake("a", "b", "", ""), Fake("b", "a", "", "")]), "a b");
        assert_eq!(ordered(&[Fake("a", "", "a", "")]), "a");
    }

    #[test]
    fn what_a_pre_dependency_needs_comes_before_too() {
        let set = [
            Fake("shell", "libc", "", "sh"),
            Fake("libc", "", "libgcc", ""),
            Fake("libgcc", "", "libc, base", ""),
            Fake("base", "awk", "", ""),
            Fake("awk", "", "", ""),
            Fake("script", "sh", "late", ""),
            Fake("late", "", "", ""),
        ];
        assert_eq!(batched(&set), "awk late / base libc libgcc / shell / script");
    }

    #[test]
    fn who_needs_whom_is_known_over_circles_and_provided_names() {
        let set = [
            Fake("tls", "", "", ""),
            Fake("client", "", "lib (>= 2), absent", ""),
            Fake("lib", "", "tls | lib2", ""),
            Fake("server", "virtual", "", ""),
            Fake("provider", "", "other", "virtual"),
            Fake("other", "", "provider, client", ""),
            Fake("apart", "", "either | tls", ""),
            Fake("either", "", "", ""),
            Fake("lib2", "", "", ""),
            Fake("second", "", "", "virtual"),
        ];
        let told = |found: Vec<bool>| {
            let found = set.iter().zip(found).filter(|(_, is_one)| *is_one);
            found.map(|(package, _)| package.0).collect::<Vec<_>>().join(" ")
        };
        let one = |one: &str| set.iter().map(|package| package.0 == one).collect::<Vec<_>>();
        let needing = |name: &str| told(dependants(&set, one(name)));
        assert_eq!(needing("tls"), "tls client lib server provider other apart");
        assert_eq!(needing("lib2"), "client lib server provider other lib2");
        assert_eq!(needing("provider"), "server provider other");
        assert_eq!(needing("second"), "server second");
        assert_eq!(needing("server"), "server");
        assert_eq!(needing("nobody"), "");
        let needed = |name: &str| told(dependencies(&set, one(name)));
        assert_eq!(needed("server"), "tls client lib server provider other lib2 second");
        assert_eq!(needed("client"), "tls client lib lib2");
        assert_eq!(needed("apart"), "tls apart either");
        assert_eq!(needed("nobody"), "");
    }

    #[test]
    fn deep_chains_do_not_exhaust_the_stack() {
        struct Link(String, String);
        impl Related for Link {
            fn name(&self) -> &str {
                &self.0
            }

            fn field(&self, field: RelationField) -> &str {
                if field == RelationField::PreDepends { &self.1 } else { "" }
            }
        }
        let chain: Vec<_> =
            (0..30_000).map(|n| Link(format!("p{n}"), format!("p{}", n + 1))).collect();
        assert_eq!(order(&chain)[0], 29_999);
    }
}
