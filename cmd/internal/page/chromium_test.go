// SPDX-License-Identifier: Apache-2.0

package page_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/heraldlb/herald/lab/need"
)

// patience is how long a browser on a busy machine may take for a step.
const patience = 3 * time.Minute

// pictures is where the tests leave pictures of the page.
const pictures = "../../../bin/page"

// chromium starts a browser without a window for a test and its subtests.
func chromium(t *testing.T) context.Context {
	t.Helper()
	need.Program(t, "chromium")
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath("chromium"), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.WindowSize(1440, 900), chromedp.UserDataDir(t.TempDir()), chromedp.WSURLReadTimeout(patience),
		chromedp.Env("HOME="+t.TempDir()))
	ctx, stop := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(stop)
	ctx, stop = chromedp.NewContext(ctx)
	t.Cleanup(stop)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatal(err)
	}
	return ctx
}

// A tab is a tab of the browser. What it reports as an error fails the test.
type tab struct {
	testing.TB
	ctx context.Context

	mu     sync.Mutex // guards errors
	errors []string
}

// open opens a page of a server in a tab of its own.
func open(t *testing.T, browser context.Context, url string) *tab {
	t.Helper()
	ctx, stop := chromedp.NewContext(browser)
	b := &tab{TB: t, ctx: ctx}
	err := chromedp.Listen(ctx, func(ev any) {
		switch e := ev.(type) {
		case *runtime.EventExceptionThrown:
			b.report(fmt.Sprint(e.ExceptionDetails.Text, e.ExceptionDetails.Exception))
		case *log.EventEntryAdded:
			if e.Entry.Level == log.EntryLevelError {
				b.report(e.Entry.Text + " " + e.Entry.URL)
			}
		case *runtime.EventConsoleAPICalled:
			if e.Type == runtime.ConsoleAPICalledTypeError {
				b.report(fmt.Sprint(e.Args))
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	b.run(chromedp.Navigate(url))
	t.Cleanup(func() {
		stop()
		b.mu.Lock()
		defer b.mu.Unlock()
		for _, e := range b.errors {
			t.Errorf("the browser reports: %s", e)
		}
	})
	return b
}

// report notes an error.
func (b *tab) report(text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.errors = append(b.errors, text)
}

// pardon forgets the errors that were meant.
func (b *tab) pardon() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.errors = nil
}

func (b *tab) run(actions ...chromedp.Action[chromedp.Void]) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		b.Fatalf("%v; the page says: %s", err, b.text())
	}
}

// text returns what the page says.
func (b *tab) text() string {
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	text, err := chromedp.Run(ctx, chromedp.Evaluate[string](`document.body.innerText`))
	if err != nil {
		return err.Error()
	}
	return text
}

// eval returns what an expression of JavaScript is.
func (b *tab) eval(expression string) any {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	out, err := chromedp.Run(ctx, chromedp.Evaluate[any](expression))
	if err != nil {
		b.Fatalf("%s: %v", expression, err)
	}
	return out
}

// wait waits until an expression of JavaScript is true.
func (b *tab) wait(expression string) {
	b.Helper()
	b.run(chromedp.Poll[chromedp.Void](expression, chromedp.WithPollingInterval(50*time.Millisecond), chromedp.WithPollingTimeout(patience)))
}

// says waits until the page says some texts.
func (b *tab) says(texts ...string) {
	b.Helper()
	for _, text := range texts {
		quoted, _ := json.Marshal(text)
		b.wait(fmt.Sprintf(`document.body.innerText.includes(%s)`, quoted))
	}
}

// visit goes to another view.
func (b *tab) visit(view string) {
	b.Helper()
	quoted, _ := json.Marshal("#/" + view)
	b.eval(fmt.Sprintf(`location.hash = %s; 0`, quoted))
}

// picture leaves a picture of what the tab shows.
func (b *tab) picture(name string) {
	b.Helper()
	b.run(chromedp.Evaluate[chromedp.Void](`new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(0))))`, chromedp.EvalAwaitPromise))
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	png, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
	if err != nil {
		b.Fatal(err)
	}
	if err := os.MkdirAll(pictures, 0o755); err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(pictures, name+".png"), png, 0o644); err != nil {
		b.Fatal(err)
	}
}

// dark has the tab prefer dark colors.
func (b *tab) dark() {
	b.Helper()
	b.run(media(emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: "dark"}}}))
}

// media has a tab think that it is on another medium.
func media(p emulation.SetEmulatedMediaParams) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, emulation.SetEmulatedMedia, p)
		return err
	})
}
