// Package csvsafe keeps spreadsheets from running what strangers wrote.
package csvsafe

import (
	"regexp"
	"strings"
)

// number is what may begin with a minus sign without being a formula.
var number = regexp.MustCompile(`^-?[0-9]+(\.[0-9]+)?$`)

// Cell returns cell so that no spreadsheet runs it as a formula: with an
// apostrophe before it where it would be one (OWASP, CSV Injection: = + - @
// tab and carriage return begin one).
func Cell(cell string) string {
	if cell == "" || !strings.ContainsRune("=+-@\t\r", rune(cell[0])) || number.MatchString(cell) {
		return cell
	}
	return "'" + cell
}

// Row returns each cell as Cell does.
func Row(cells ...string) []string {
	for i := range cells {
		cells[i] = Cell(cells[i])
	}
	return cells
}
