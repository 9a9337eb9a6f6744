package sim

import (
	_ "embed"
	"html/template"
)

//go:embed style.css
var style string

// Style is what the simulators' pages share. A page adds its own --head and
// --main colours.
func Style() template.CSS { return template.CSS(style) } // #nosec G203 -- a file of ours
