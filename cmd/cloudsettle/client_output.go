package main

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"

	"github.com/rivo/uniseg"

	"cloudsettle/console/api/csvsafe"
)

// column is one field of what is printed.
type column[T any] struct {
	name  string
	value func(T) string
}

// printAll prints items as a table, as CSV with a header, or as a JSON array.
func printAll[T any](c *cli, items []T, columns []column[T]) error {
	if c.output == "json" {
		return printJSON(c.out, items)
	}
	rows := [][]string{make([]string, len(columns))}
	for i, col := range columns {
		rows[0][i] = col.name
	}
	for _, item := range items {
		row := make([]string, len(columns))
		for i, col := range columns {
			row[i] = col.value(item)
		}
		rows = append(rows, row)
	}
	if c.output == "csv" {
		return printCSV(c.out, rows)
	}
	return printTable(c.out, rows)
}

// printOne prints one item: as a table, a line for each field that it has.
func printOne[T any](c *cli, item T, columns []column[T]) error {
	switch c.output {
	case "json":
		return printJSON(c.out, item)
	case "csv":
		return printAll(c, []T{item}, columns)
	}
	var rows [][]string
	for _, col := range columns {
		if v := col.value(item); v != "" {
			rows = append(rows, []string{col.name, v})
		}
	}
	return printTable(c.out, rows)
}

func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// printTable aligns columns by what a terminal shows, not by bytes.
func printTable(w io.Writer, rows [][]string) error {
	width := map[int]int{}
	for _, row := range rows {
		for i := range row {
			row[i] = printable(row[i])
			width[i] = max(width[i], uniseg.StringWidth(row[i]))
		}
	}
	var out strings.Builder
	for _, row := range rows {
		var line strings.Builder
		for i, cell := range row {
			line.WriteString(cell + strings.Repeat(" ", width[i]-uniseg.StringWidth(cell)+2))
		}
		out.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
	_, err := io.WriteString(w, out.String())
	return err
}

// printable replaces what would control a terminal: some of what we print was
// sent by strangers. Line breaks of ours are kept in messages.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, s)
}

func printCSV(w io.Writer, rows [][]string) error {
	out := csv.NewWriter(w)
	for _, row := range rows {
		if err := out.Write(csvsafe.Row(row...)); err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}

// text returns what p points to, or "".
func text(p *string) string {
	if p == nil {
		return ""
	}
	return *p
}

// when prints an instant, or nothing for none.
func when(t *time.Time) string {
	if t == nil {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// yes prints what is set and nothing else, so that it stands out.
func yes(b bool) string {
	if b {
		return "yes"
	}
	return ""
}

func joined(list []string) string { return strings.Join(list, " ") }

func count(n int) string { return fmt.Sprint(n) }

// stated prints a number that marketplaces need not tell.
func stated(n int64) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprint(n)
}
