package pricing

import (
	"bytes"
	"encoding/csv"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"
)

// ParseCSV reads the books of a CSV file, as the package describes it. Of a
// file with anything wrong it returns no book and Problems, which name all
// that is wrong, by line. The error of in is returned as it is.
func ParseCSV(in io.Reader) ([]Book, error) {
	data, err := io.ReadAll(io.LimitReader(in, MaxFile+1))
	if err != nil {
		return nil, err
	}
	r := csvReader{}
	r.begin()
	if len(data) > MaxFile {
		r.found.add(0, "", "longer than "+strconv.Itoa(MaxFile)+" bytes")
	} else {
		r.file(bytes.TrimPrefix(data, []byte("\ufeff"))) // spreadsheets begin their files with a mark
	}
	if err := r.found.err(); err != nil {
		return nil, err
	}
	return r.books, nil
}

// The columns by what they belong to, with their names in the setters where
// those differ.
var (
	bookColumns = []string{"name", "zone", "currency", "effective_from", "scale"}
	itemColumns = []string{
		"item", "item_name", "unit", "aggregation", "mode", "free_quota", "exclude_vouchers",
	}
	rowColumns = []string{"variant", "up_to", "price"}
	required   = []string{
		"name", "zone", "currency", "effective_from", "item", "unit", "aggregation", "price",
	}
)

const itemNameColumn = "item_name"

// row is the cells of a line by their columns.
type row struct {
	line  int
	cells map[string]string
}

// csvReader builds books from rows.
type csvReader struct {
	reader
	books []Book
	// bookRow and itemRow hold the cells that the book and the item began with.
	bookRow, itemRow row
}

func (r *csvReader) file(data []byte) {
	in := csv.NewReader(bytes.NewReader(data))
	header, err := in.Read()
	if err != nil {
		r.syntax(err)
		return
	}
	if !r.header(header) {
		return
	}
	for {
		record, err := in.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if errors.Is(err, csv.ErrFieldCount) {
			line, _ := in.FieldPos(0)
			r.found.add(line, "", "has not as many cells as there are columns")
			continue
		}
		if err != nil {
			r.syntax(err)
			break
		}
		line, _ := in.FieldPos(0)
		r.row(newRow(line, header, record))
	}
	r.finish()
	if len(r.books) == 0 {
		r.found.add(1, "", "there is no book in it")
	}
}

func newRow(line int, header, record []string) row {
	cells := make(map[string]string, len(header))
	for i, name := range header {
		cells[name] = strings.TrimSpace(record[i])
	}
	return row{line, cells}
}

func (r *csvReader) syntax(err error) {
	var parse *csv.ParseError
	if errors.As(err, &parse) {
		r.found.add(parse.Line, "", parse.Err.Error())
		return
	}
	r.found.add(1, "", "there is no header")
}

// header checks the names of the columns and reports whether rows can be read.
func (r *csvReader) header(names []string) bool {
	for i := range names {
		names[i] = strings.TrimSpace(names[i])
		switch {
		case slices.Contains(names[:i], names[i]):
			r.found.add(1, "", "column "+strconv.Quote(cut(names[i]))+" is there twice")
		case !known(names[i]):
			r.found.add(1, "", "unknown column "+strconv.Quote(cut(names[i])))
		}
	}
	for _, name := range required {
		if !slices.Contains(names, name) {
			r.found.add(1, "", "column "+name+" is missing")
		}
	}
	return len(r.found) == 0
}

func known(column string) bool {
	return slices.Contains(bookColumns, column) || slices.Contains(itemColumns, column) ||
		slices.Contains(rowColumns, column)
}

// row adds a line to the books.
func (r *csvReader) row(row row) {
	newBook := len(r.books) == 0 || row.differs(r.bookRow, bookColumns[:4])
	if newBook {
		r.finish()
		r.books = append(r.books, Book{Scale: DefaultScale})
		r.begin()
		r.lines[""] = row.line
		r.bookRow = r.open(row, r.bookRow, "", bookColumns, r.book().setters())
	}
	if newBook || row.differs(r.itemRow, itemColumns[:1]) {
		if len(r.book().Items) == MaxItems {
			r.found.add(row.line, "/items", "more than "+strconv.Itoa(MaxItems))
			return
		}
		r.book().Items = append(r.book().Items, Item{Mode: Flat})
		path := r.itemPath()
		r.lines[path] = row.line
		r.itemRow = r.open(row, r.itemRow, path, itemColumns, r.item().setters())
	}
	r.same(row, r.bookRow, bookColumns)
	r.same(row, r.itemRow, itemColumns)
	r.price(row)
}

// differs reports whether the row says something else than before in one of
// these columns; an empty cell says the same.
func (w row) differs(before row, columns []string) bool {
	return slices.ContainsFunc(columns, func(c string) bool {
		return w.cells[c] != "" && w.cells[c] != before.cells[c]
	})
}

// open reads the columns of something that begins in this row.
func (r *csvReader) open(now, before row, path string, columns []string, to setters) row {
	for _, column := range columns {
		text := now.cells[column]
		if text == "" && path == "" {
			text = before.cells[column] // the next book is like this one but for what it says
			now.cells[column] = text
		}
		key := column
		if column == itemNameColumn {
			key = "name"
		}
		switch at := path + "/" + key; {
		case text != "":
			r.set(now.line, at, text, to[key])
		case slices.Contains(required, column):
			r.fail(now.line, at, "is missing")
		}
	}
	return now
}

// same notes cells that contradict the row in which their book or item began.
func (r *csvReader) same(row, began row, columns []string) {
	for _, column := range columns {
		if row.cells[column] != "" && row.cells[column] != began.cells[column] {
			r.found.add(row.line, r.itemPath(), column+" is not as in line "+strconv.Itoa(began.line))
		}
	}
}

// price adds the price or the tier of a row.
func (r *csvReader) price(row row) {
	it := r.item()
	variant := row.cells["variant"]
	last := len(it.Prices) - 1
	if it.Mode == Flat || last < 0 || it.Prices[last].Variant != variant {
		it.Prices = append(it.Prices, Price{Variant: variant})
		last++
	}
	p, path := &it.Prices[last], place(r.itemPath()+"/prices", last)
	to := p.setters()
	if it.Mode != Flat {
		p.Tiers = append(p.Tiers, Tier{})
		to, path = p.Tiers[len(p.Tiers)-1].setters(), place(path+"/tiers", len(p.Tiers)-1)
	}
	r.lines[path] = row.line
	for _, column := range []string{"up_to", "price"} {
		switch text, setter := row.cells[column], to[column]; {
		case text != "" && setter != nil:
			r.set(row.line, path+"/"+column, text, setter)
		case text != "":
			r.fail(row.line, path+"/"+column, "a flat item has no tiers")
		case column == "price":
			r.fail(row.line, path+"/price", "is missing")
		}
	}
}

// finish validates the book that was read last.
func (r *csvReader) finish() {
	if len(r.books) > 0 {
		r.check(r.book())
	}
}

func (r *csvReader) book() *Book { return &r.books[len(r.books)-1] }

func (r *csvReader) item() *Item { return &r.book().Items[len(r.book().Items)-1] }

func (r *csvReader) itemPath() string { return place("/items", len(r.book().Items)-1) }
