//! What must hold for any input: the index finds what trying every pattern finds, and nothing makes a parser panic.

#![allow(clippy::unwrap_used, reason = "tests")]

use overboot_kmod::pattern::matches;
use overboot_kmod::{AliasIndex, Builtin, Index, Installed, ModuleInfo, ModuleOptions, Modules};
use proptest::prelude::*;

/// What fnmatch(3) says about `*` and `?`, by its definition.
fn by_definition(pattern: &[u8], text: &[u8]) -> bool {
    let same = |a: u8, b: u8| a == b || (b"-_".contains(&a) && b"-_".contains(&b));
    match (pattern.split_first(), text.split_first()) {
        (None, None) => true,
        (Some((b'*', rest)), _) => {
            (0..=text.len()).any(|taken| by_definition(rest, &text[taken..]))
        }
        (Some((b'?', rest)), Some((_, text))) => by_definition(rest, text),
        (Some((a, rest)), Some((b, text))) => same(*a, *b) && by_definition(rest, text),
        (None, Some(_)) | (Some(_), None) => false,
    }
}

proptest! {
    #[test]
    fn wildcards_are_what_they_are_by_definition(pattern in "[ab*?_-]{0,9}", text in "[ab_-]{0,9}") {
        prop_assert_eq!(
            matches(pattern.as_bytes(), text.as_bytes()),
            by_definition(pattern.as_bytes(), text.as_bytes())
        );
    }

    #[test]
    fn the_index_finds_what_trying_all_finds(
        patterns in prop::collection::vec("[a-b:_-]{0,4}(\\*|\\?|\\[a-b\\]|)[a-b:-]{0,3}\\*?", 0..20),
        texts in prop::collection::vec("[a-b:_-]{0,8}", 0..20),
    ) {
        let patterns: Vec<String> = patterns.into_iter().filter(|p| !p.is_empty()).collect();
        let file: String =
            patterns.iter().enumerate().map(|(n, p)| format!("alias {p} m{n}\n")).collect();
        let index = AliasIndex::parse(&file).unwrap();
        for text in texts {
            let naive: Vec<String> = patterns
                .iter()
                .enumerate()
                .filter(|(_, pattern)| matches(pattern.as_bytes(), text.as_bytes()))
                .map(|(n, _)| format!("m{n}"))
                .collect();
            prop_assert_eq!(index.matches(&text), naive);
        }
    }

    #[test]
    fn whatever_a_module_is_made_of_it_does_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut file = b"\x7fELF\x02\x01".to_vec();
        file.extend(&bytes);
        let _ = ModuleInfo::parse(&file);
        let _ = ModuleInfo::parse(&bytes);
        let _ = Builtin::parse(&String::from_utf8_lossy(&bytes), &bytes);
    }

    #[test]
    fn whatever_an_index_file_holds_it_does_not_panic(text in "(alias|softdep|a.ko:|b.ko: a.ko|pre:|\\*|\\[|-|x|\\.|=|\"| |\n){0,40}") {
        let _ = AliasIndex::parse(&text).map(|index| index.matches("x-x"));
        if let Ok(modules) = Modules::parse(&text, &text, &text, &text) {
            let _ = modules.plan(modules.find("a")).steps().len();
        }
        let _ = ModuleOptions::parse(&text).parameters("x");
    }

    /// Whatever the modules need, a plan has each once and after all that it needs.
    #[test]
    fn a_plan_loads_everything_in_order(edges in prop::collection::vec((0usize..12, 0usize..12), 0..40)) {
        let modules: Vec<Installed> = (0..12)
            .map(|number| {
                let depends = edges
                    .iter()
                    .filter(|(from, to)| *from == number && to < from)
                    .map(|(_, to)| format!("m{to}"))
                    .collect();
                let info = ModuleInfo { depends, ..ModuleInfo::default() };
                Installed { path: format!("kernel/m{number}.ko"), info }
            })
            .collect();
        let index = Index::build(modules, "", Builtin::default()).unwrap();
        let dep = index.dep();
        let modules = Modules::parse(&dep, "", "", "").unwrap();
        for number in 0..12 {
            let name = format!("m{number}");
            let plan = modules.plan(modules.find(&name));
            let mut loaded: Vec<&str> = plan.steps().iter().map(|step| step.name).collect();
            for (at, step) in plan.steps().iter().enumerate() {
                prop_assert!(step.after.iter().all(|before| *before < at));
                let info = &index.get(step.name).unwrap().info;
                prop_assert!(info.depends.iter().all(|need| loaded[..at].contains(&need.as_str())));
            }
            loaded.sort_unstable();
            prop_assert_eq!(loaded, index.closure([name.as_str()], false));
        }
    }
}
