//! A conflict as sentences.

use std::collections::VecDeque;

use overboot_debian::relation::Dependency;
use resolvo::conflict::{ConflictCause, ConflictEdge, ConflictGraph, ConflictNode};
use resolvo::{Interner, SolvableId};

use super::problem::{Because, Problem};

/// The most sentences of a chain; more help nobody.
const LONGEST: usize = 40;

/// Why there is no solution.
#[derive(Debug, Default)]
pub(super) struct Why {
    /// The facts that contradict each other, from what is asked for downwards, one sentence each.
    pub(super) chain: Vec<String>,
    /// What is asked for among them.
    pub(super) asked: Vec<Dependency>,
    /// The names among them that are excluded.
    pub(super) excluded: Vec<String>,
}

/// Reads a conflict.
pub(super) fn why(graph: &ConflictGraph<SolvableId>, problem: &Problem<'_>) -> Why {
    let edges = graph.graph.raw_edges();
    let Why { mut chain, mut asked, mut excluded } = Why::default();
    let mut seen = vec![graph.root_node];
    let mut queue = VecDeque::from([graph.root_node]);
    while let Some(node) = queue.pop_front() {
        for edge in edges.iter().filter(|edge| edge.source() == node) {
            let source = graph.graph[edge.source()];
            let target = graph.graph[edge.target()];
            if let ConflictEdge::Requires(requirement) = edge.weight
                && let Some((dependency, because)) = problem.requirement_of(requirement)
            {
                if matches!(target, ConflictNode::UnresolvedDependency) {
                    let names = dependency.0.iter().map(|relation| &relation.name);
                    excluded.extend(names.filter(|name| problem.is_excluded(name)).cloned());
                }
                if because == Some(Because::Asked) {
                    asked.push(dependency);
                }
            }
            let sentence = sentence(problem, source, edge.weight, target);
            if let Some(sentence) = sentence.filter(|sentence| !chain.contains(sentence)) {
                chain.push(sentence);
            }
            if !seen.contains(&edge.target()) {
                seen.push(edge.target());
                queue.push_back(edge.target());
            }
        }
    }
    if chain.len() > LONGEST {
        let left = chain.len() - LONGEST;
        chain.truncate(LONGEST);
        chain.push(format!("… and {left} more reasons"));
    }
    Why { chain, asked, excluded }
}

fn sentence(
    problem: &Problem<'_>,
    source: ConflictNode<SolvableId>,
    edge: ConflictEdge<SolvableId>,
    target: ConflictNode<SolvableId>,
) -> Option<String> {
    let who = match source {
        ConflictNode::Solvable(id) => Some(problem.show(id)),
        ConflictNode::Root => None,
        ConflictNode::UnresolvedDependency | ConflictNode::Excluded(_) => return None,
    };
    match edge {
        ConflictEdge::Requires(requirement) => {
            let (dependency, because) = problem.requirement_of(requirement)?;
            let fact = match (who, because) {
                (Some(who), _) => format!("{who} needs {dependency}"),
                (None, Some(Because::Base)) => format!("{dependency} is installed"),
                (None, Some(Because::Variant(variant))) => {
                    format!("the variant {variant} has {dependency}")
                }
                (None, Some(Because::Asked) | None) => format!("{dependency} is asked for"),
            };
            Some(match target {
                ConflictNode::UnresolvedDependency => {
                    format!("{fact}, but {}", why_nobody(problem, &dependency))
                }
                ConflictNode::Solvable(id) if !is_plain(problem, &dependency, id) => {
                    format!("{fact}: {}", problem.show(id))
                }
                ConflictNode::Solvable(_) | ConflictNode::Root | ConflictNode::Excluded(_) => fact,
            })
        }
        ConflictEdge::Conflict(ConflictCause::Constrains(set)) => {
            Some(format!("{} {}", who?, problem.display_version_set(set)))
        }
        ConflictEdge::Conflict(ConflictCause::Excluded) => {
            let ConflictNode::Excluded(reason) = target else { return None };
            Some(format!("{} cannot be taken: {}", who?, problem.display_string(reason)))
        }
        // Names have one candidate each, and none is locked: these do not arise.
        ConflictEdge::Conflict(
            ConflictCause::Locked(_) | ConflictCause::ForbidMultipleInstances,
        ) => None,
    }
}

fn why_nobody(problem: &Problem<'_>, dependency: &Dependency) -> String {
    let reasons: Vec<_> =
        dependency.0.iter().map(|relation| problem.why_nobody(relation)).collect();
    reasons.join(", and ")
}

/// Whether the dependency names this very package and nothing else, so that it need not be said again.
fn is_plain(problem: &Problem<'_>, dependency: &Dependency, id: SolvableId) -> bool {
    let name = problem.display_solvable_name(id).to_string();
    matches!(dependency.0.as_slice(), [relation] if relation.name == name)
}
