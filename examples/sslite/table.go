package main

import (
	"bufio"
	"bytes"
)

// columns are those of a row: netid, state, the two queues, the two ends, and the
// rest, which may go on in further lines.
const columns = 7

// table aligns rows. It holds back so many of them to see how wide they are, and
// then never makes a column narrower.
type table struct {
	out    *bufio.Writer
	cells  []byte // of the rows that wait, back to back
	ends   []int  // where each cell ends
	widths [columns]int
	begun  bool // there was a row
}

const alignRows = 1000

// header sets the least widths, and is the first row if it is to be shown. A
// column without a name, but for the last, is not there.
func (t *table) header(names [columns]string, show bool) {
	for i, name := range names {
		t.widths[i] = len(name)
		if show {
			t.cells = append(t.cells, name...)
			t.cell()
		}
	}
}

// cell ends a cell, which was appended to t.cells.
func (t *table) cell() { t.ends = append(t.ends, len(t.cells)) }

// end ends a row.
func (t *table) end() error {
	t.begun = true
	if len(t.ends) < alignRows*columns {
		return nil
	}
	return t.flush()
}

// take ends a row and takes it out again, for add.
func (t *table) take() []byte {
	first := len(t.ends) - columns
	start := 0
	if first > 0 {
		start = t.ends[first-1]
	}
	row := make([]byte, 0, len(t.cells)-start+columns)
	for _, end := range t.ends[first:] {
		row = append(append(row, t.cells[start:end]...), 0)
		start = end
	}
	t.ends = t.ends[:first]
	t.cells = t.cells[:len(t.cells)-(len(row)-columns)]
	return row
}

// add adds a row that was taken out.
func (t *table) add(row []byte) error {
	for cell := range bytes.SplitAfterSeq(row, []byte{0}) {
		if len(cell) > 0 {
			t.cells = append(t.cells, cell[:len(cell)-1]...)
			t.cell()
		}
	}
	return t.end()
}

// flush prints the rows that wait.
func (t *table) flush() error {
	t.measure()
	start := 0
	var err error
	for i, end := range t.ends {
		column := i % columns
		cell := t.cells[start:end]
		start = end
		pad := t.widths[column] - len(cell)
		switch column {
		case 0:
			if t.widths[0] == 0 {
				continue
			}
		case 2, 3: // numbers
			t.pad(pad)
		}
		if column == columns-1 {
			_, _ = t.out.Write(cell)
			err = t.out.WriteByte('\n')
			continue
		}
		_, _ = t.out.Write(cell)
		last := column == columns-2 && (t.ends[i+1] == end || t.cells[end] == '\n') // nothing behind it
		if column != 2 && column != 3 && !last {
			t.pad(pad)
		}
		if !last {
			_ = t.out.WriteByte(' ')
		}
	}
	t.cells, t.ends = t.cells[:0], t.ends[:0]
	return err // a bufio.Writer keeps its first one
}

func (t *table) measure() {
	start := 0
	for i, end := range t.ends {
		if column := i % columns; column < columns-1 {
			t.widths[column] = max(t.widths[column], end-start)
		}
		start = end
	}
}

// pad prints n spaces.
func (t *table) pad(n int) {
	for range n {
		_ = t.out.WriteByte(' ')
	}
}
