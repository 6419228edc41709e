//! The look of what is drawn.

use ratatui::style::{Color, Modifier, Style as Look};

/// The abilities of the terminal.
#[derive(Debug, Clone, Copy)]
pub struct Style {
    pub color: bool,
    pub unicode: bool,
}

impl Style {
    pub fn of_environment(no_color: bool) -> Style {
        let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"]
            .into_iter()
            .find_map(set)
            .unwrap_or_default()
            .to_uppercase();
        Style {
            color: !no_color && set("NO_COLOR").is_none(),
            unicode: locale.contains("UTF-8") || locale.contains("UTF8"),
        }
    }

    pub fn colored(self, color: Color) -> Look {
        if self.color { Look::new().fg(color) } else { Look::new() }
    }

    pub fn heading(self) -> Look {
        self.colored(Color::Cyan).add_modifier(Modifier::BOLD)
    }
}
