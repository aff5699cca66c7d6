// SPDX-License-Identifier: Apache-2.0

package sysdump

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
)

// An archive is a tar.gz.
type archive struct {
	opts Options
	gz   *gzip.Writer
	tar  *tar.Writer
}

func newArchive(w io.Writer, opts Options) *archive {
	gz := gzip.NewWriter(w)
	return &archive{opts, gz, tar.NewWriter(gz)}
}

// file adds a file.
func (a *archive) file(name string, size int64, from io.Reader) error {
	header := &tar.Header{Name: a.opts.Folder + "/" + name, Mode: 0o600, Size: size, ModTime: a.opts.At.Truncate(time.Second), Format: tar.FormatPAX}
	if err := a.tar.WriteHeader(header); err != nil {
		return err
	}
	_, err := io.Copy(a.tar, from)
	return err
}

// text adds a file.
func (a *archive) text(name, text string) error {
	return a.file(name, int64(len(text)), strings.NewReader(text))
}

func (a *archive) close() error { return errors.Join(a.tar.Close(), a.gz.Close()) }

// An index lists what an archive has, and what it lacks.
type index struct {
	opts   Options
	notes  []string
	redact *redactor
	rows   []string // of files, as a table
	result Result
}

// add adds what was made, and notes it.
func (i *index) add(a *archive, m made) error {
	note := m.note
	if m.err != nil {
		text := i.redact.text(m.err.Error(), own)
		i.result.Unread = append(i.result.Unread, Unread{m.name, strings.ReplaceAll(text, "\n", "; ")})
		note = strings.TrimPrefix(note+"; not read, or in part", "; ")
	}
	if m.err != nil && m.spool.size == 0 || m.spool.size == 0 && note != "" {
		i.row(m.name, "-", note)
		return nil
	}
	from, err := m.spool.reader()
	if err != nil {
		return err
	}
	if err := a.file(m.name, m.spool.size, from); err != nil {
		return err
	}
	i.result.Files++
	if !m.view {
		i.result.Read++
	}
	i.row(m.name, fmt.Sprint(m.spool.size), note)
	return nil
}

func (i *index) row(name, size, note string) {
	note = i.redact.text(strings.ReplaceAll(note, "\n", "; "), own)
	i.rows = append(i.rows, strings.TrimRight(name+"\t"+size+"\t"+note, "\t"))
}

// text returns the index for people.
func (i *index) text(took time.Duration) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Herald in namespace %s, %s\n", i.opts.Namespace, i.opts.At.UTC().Format(time.RFC3339))
	fmt.Fprintf(&b, "made by %s in %v\n", i.opts.Program, took.Round(100*time.Millisecond))
	fmt.Fprintf(&b, "No Secret was read. Passwords, tokens and keys are %s. Names, addresses and AS numbers are as they are.\n", redacted)
	for _, n := range i.notes {
		fmt.Fprintf(&b, "Note: %s\n", i.redact.text(n, own))
	}
	if len(i.result.Unread) == 0 {
		b.WriteString("\nAll was read.\n")
	} else {
		fmt.Fprintf(&b, "\nNOT READ, or in part: %d files\n", len(i.result.Unread))
		for _, u := range i.result.Unread {
			fmt.Fprintf(&b, "  %s: %s\n", u.Name, u.Error)
		}
	}
	b.WriteString("\n")
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "FILE\tBYTES\tNOTE")
	for _, r := range i.rows {
		fmt.Fprintln(w, r)
	}
	_ = w.Flush() // a Builder takes all
	return b.String()
}
