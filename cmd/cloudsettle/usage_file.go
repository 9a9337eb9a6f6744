package main

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"

	"cloudsettle/console/api/samples"
)

// records hands over each record of a file as one line of JSON, and how far it
// is into the file.
func records(f io.Reader, name string, each func(record []byte, at int64) error) error {
	in := bufio.NewReaderSize(f, 4*samples.MaxRecord)
	if filepath.Ext(name) == ".csv" {
		return csvRecords(in, each)
	}
	first, err := firstByte(in)
	switch {
	case errors.Is(err, io.EOF):
		return nil
	case err != nil:
		return err
	case first == '[':
		return arrayRecords(in, each)
	}
	return lineRecords(in, each)
}

// firstByte looks at the first byte that is not white space.
func firstByte(in *bufio.Reader) (byte, error) {
	for {
		c, err := in.ReadByte()
		if err != nil {
			return 0, err
		}
		if !bytes.ContainsRune([]byte(" \t\r\n"), rune(c)) {
			return c, in.UnreadByte()
		}
	}
}

func lineRecords(in *bufio.Reader, each func([]byte, int64) error) error {
	at := int64(0)
	for {
		line, err := in.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			return samples.ErrTooLong
		}
		at += int64(len(line))
		if record := bytes.TrimSpace(line); len(record) > 0 {
			if err := each(record, at); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func arrayRecords(in io.Reader, each func([]byte, int64) error) error {
	d := json.NewDecoder(in)
	if _, err := d.Token(); err != nil {
		return err
	}
	for d.More() {
		var raw json.RawMessage
		if err := d.Decode(&raw); err != nil {
			return err
		}
		record, err := oneLine(raw)
		if err != nil {
			return err
		}
		if err := each(record, d.InputOffset()); err != nil {
			return err
		}
	}
	_, err := d.Token()
	return err
}

// csvColumns are the columns that a CSV file of usage may have.
var csvColumns = []string{"workspace_id", "item", "variant", "hour", "quantity"}

func csvRecords(in io.Reader, each func([]byte, int64) error) error {
	r := csv.NewReader(in)
	r.ReuseRecord = true
	header, err := r.Read()
	if err != nil {
		return fmt.Errorf("header: %w", err)
	}
	names := slices.Clone(header)
	for _, name := range names {
		if !slices.Contains(csvColumns, name) {
			return fmt.Errorf("header: unknown column %q; there are %q", name, csvColumns)
		}
	}
	for {
		row, err := r.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		fields := map[string]string{}
		for i, name := range names {
			fields[name] = row[i]
		}
		record, err := json.Marshal(fields)
		if err != nil {
			return err
		}
		if err := each(record, r.InputOffset()); err != nil {
			return err
		}
	}
}
