// SPDX-License-Identifier: Apache-2.0

package sysdump

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
)

// A spool is a file of the archive that is being made, on disk: an archive has the size of a
// file before the file.
type spool struct {
	f    *os.File
	w    *bufio.Writer
	size int64
}

func newSpool(folder string) (*spool, error) {
	f, err := os.CreateTemp(folder, "part-")
	if err != nil {
		return nil, err
	}
	return &spool{f: f, w: bufio.NewWriter(f)}, nil
}

// Write implements io.Writer.
func (s *spool) Write(p []byte) (int, error) {
	n, err := s.w.Write(p)
	s.size += int64(n)
	return n, err
}

// keepLast drops the beginning, up to the begin of a line, so that about the last n bytes stay.
func (s *spool) keepLast(n int64) error {
	if s.size <= n {
		return nil
	}
	if err := s.w.Flush(); err != nil {
		return err
	}
	from := s.size - n
	if _, err := s.f.Seek(from, io.SeekStart); err != nil {
		return err
	}
	rest, err := bufio.NewReader(s.f).ReadSlice('\n')
	if err == nil {
		from += int64(len(rest))
	}
	kept := s.size - from
	// What is read lies behind what is written, so that nothing is overwritten unread.
	if _, err := io.Copy(io.NewOffsetWriter(s.f, 0), io.NewSectionReader(s.f, from, kept)); err != nil {
		return err
	}
	if err := s.f.Truncate(kept); err != nil {
		return err
	}
	s.size = kept
	_, err = s.f.Seek(kept, io.SeekStart)
	return err
}

// reader returns what was written, from its beginning.
func (s *spool) reader() (io.Reader, error) {
	if err := s.w.Flush(); err != nil {
		return nil, err
	}
	_, err := s.f.Seek(0, io.SeekStart)
	return s.f, err
}

// drop closes and removes the file.
func (s *spool) drop() error { return errors.Join(s.f.Close(), os.Remove(s.f.Name())) }

// maxLine is how long a line of a text may be.
const maxLine = 256 << 10

// cutMargin is what a line that is too long loses more, so that it does not end in the middle
// of a secret.
const cutMargin = 4 << 10

// lines copies a text without secrets.
func (r *redactor) lines(to io.Writer, from io.Reader, by trust) error {
	in := bufio.NewReaderSize(from, 64<<10)
	var line []byte
	for {
		part, err := in.ReadSlice('\n')
		if room := maxLine - len(line); len(part) > room {
			part = part[:room]
		}
		line = append(line, part...)
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if len(line) > 0 {
			if err := r.line(to, line, by); err != nil {
				return err
			}
		}
		line = line[:0]
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (r *redactor) line(to io.Writer, line []byte, by trust) error {
	text := string(bytes.TrimRight(line, "\r\n"))
	cut := len(line) >= maxLine
	shown := r.text(text, by)
	if cut {
		shown = shown[:max(0, len(shown)-cutMargin)] + fmt.Sprintf(" [the line is cut: it has more than %d bytes]", maxLine)
	}
	_, err := io.WriteString(to, shown+"\n")
	return err
}
