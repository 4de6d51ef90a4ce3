//! QR codes for the terminal and as SVG files.

use qrcode::render::{svg, unicode::Dense1x2};
use qrcode::{EcLevel, QrCode};

use super::failure::{Class, Failure};

/// Draws a QR code with half blocks. With `colour`, black on white whatever the terminal's colours are; without, light
/// modules are drawn, which scanners read on the usual dark background.
///
/// # Errors
/// When the text does not fit in a QR code.
pub fn draw_in_terminal(text: &str, colour: bool) -> Result<String, Failure> {
    let code = encode(text)?;
    if !colour {
        let drawing = code.render::<Dense1x2>().dark_color(Dense1x2::Light).light_color(Dense1x2::Dark).build();
        return Ok(drawing);
    }
    let drawing = code.render::<Dense1x2>().build();
    let lines: Vec<String> = drawing.lines().map(|line| format!("\u{1b}[30;107m{line}\u{1b}[0m")).collect();
    Ok(lines.join("\n"))
}

/// Draws a QR code as an SVG document.
///
/// # Errors
/// When the text does not fit in a QR code.
pub fn draw_svg(text: &str) -> Result<String, Failure> {
    Ok(encode(text)?.render::<svg::Color>().min_dimensions(320, 320).build())
}

fn encode(text: &str) -> Result<QrCode, Failure> {
    QrCode::with_error_correction_level(text, EcLevel::L).map_err(|error| {
        Failure::new(Class::Limit, "the QR code cannot be drawn")
            .why(format!("{} bytes do not fit: {error}", text.len()))
            .hint("pass on the link instead")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_without_colour_has_no_control_characters() {
        let drawing = draw_in_terminal("silbo:example", false).expect("a short text fits");
        assert!(drawing.chars().all(|c| " ▄▀█\n".contains(c)));
        assert!(drawing.lines().count() > 10);
    }

    #[test]
    fn the_plain_code_is_the_inverse_of_the_coloured_one() {
        let plain = draw_in_terminal("silbo:example", false).expect("a short text fits");
        let coloured = draw_in_terminal("silbo:example", true).expect("a short text fits");
        let first = coloured.lines().next().expect("a line").replace("\u{1b}[30;107m", "").replace("\u{1b}[0m", "");
        assert!(first.trim().is_empty(), "the quiet zone is left white");
        assert!(plain.lines().next().expect("a line").contains('█'), "the quiet zone is drawn");
    }

    #[test]
    fn a_file_is_an_svg_document() {
        assert!(draw_svg("silbo:example").expect("a short text fits").contains("<svg"));
    }

    #[test]
    fn a_text_too_long_for_a_code_is_an_error() {
        assert_eq!(draw_svg(&"x".repeat(5_000)).expect_err("too long").class, Class::Limit);
    }
}
