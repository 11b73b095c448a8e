package report

import (
	"context"
	"errors"
	"image"
	"image/png"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// loads are the places of a page that make a browser load something.
var loads = regexp.MustCompile(`(?i)(?:\b(?:src|srcset|href|poster|data|action|background)\s*=\s*("[^"]*"|'[^']*'|[^\s>]+)|url\(\s*([^)]*)\)|@import\s+([^;]*))`)

// A page asks nothing of the network: whatever it loads is in it.
func TestAlone(t *testing.T) {
	dir := folder(t)
	if err := Write(dir); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, File))
	if err != nil {
		t.Fatal(err)
	}
	inside := 0
	for _, m := range loads.FindAllStringSubmatch(string(text), -1) {
		what := strings.Trim(m[1]+m[2]+m[3], `"' `)
		if !strings.HasPrefix(what, "data:") && !strings.HasPrefix(what, "#") {
			t.Errorf("loads %s", m[0])
		}
		inside++
	}
	if inside == 0 { // the views at least
		t.Error("nothing is loaded at all: is the pattern right?")
	}
	for _, tag := range []string{"<script", "<link", "<iframe", "<object", "<base"} {
		if strings.Contains(strings.ToLower(string(text)), tag) {
			t.Errorf("has %s", tag)
		}
	}
}

// browser is a Chromium, if there is one.
func browser(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Skip("no Chromium to look at the page with")
	return ""
}

// A browser shows the page, light and dark: a picture that is not of one colour,
// with text on its background.
func TestBrowser(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a browser")
	}
	chromium := browser(t)
	dir := folder(t)
	if err := Write(dir); err != nil {
		t.Fatal(err)
	}
	// A path that a URL has to quote is another test's matter.
	page := filepath.Join(t.TempDir(), "page.html")
	text, err := os.ReadFile(filepath.Join(dir, File))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(page, text, 0o644); err != nil {
		t.Fatal(err)
	}
	ground := map[string]float64{}
	for scheme, number := range map[string]string{"dark": "0", "light": "1"} {
		shot := filepath.Join(t.TempDir(), scheme+".png")
		ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
		defer cancel()
		cmd := exec.CommandContext(ctx, chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--hide-scrollbars", "--window-size=1000,2400",
			"--user-data-dir="+t.TempDir(), "--blink-settings=preferredColorScheme="+number, "--screenshot="+shot, (&url.URL{Scheme: "file", Path: page}).String())
		said, err := cmd.CombinedOutput()
		if err != nil && ctx.Err() != nil {
			t.Skipf("the browser did not end in time: %s", said)
		}
		if err != nil {
			t.Fatalf("%v: %s", err, said)
		}
		im := decode(t, shot)
		light, seen := brightness(im)
		ground[scheme] = light
		if seen < 50 {
			t.Errorf("%s: a picture of %d colours", scheme, seen)
		}
	}
	if ground["light"] < 0.8 || ground["dark"] > 0.3 {
		t.Errorf("brightness %v", ground)
	}
}

func decode(t *testing.T, path string) image.Image {
	t.Helper()
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		t.Fatal("the browser made no picture")
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	im, err := png.Decode(f)
	if err != nil {
		t.Fatal(err)
	}
	return im
}

// brightness is the mean brightness of a picture, in [0,1], and how many colours
// it has.
func brightness(im image.Image) (mean float64, colours int) {
	seen := map[[3]uint32]bool{}
	b := im.Bounds()
	for y := b.Min.Y; y < b.Max.Y; y += 2 {
		for x := b.Min.X; x < b.Max.X; x += 2 {
			r, g, bl, _ := im.At(x, y).RGBA()
			seen[[3]uint32{r, g, bl}] = true
			mean += float64(r+g+bl) / (3 * 65535)
		}
	}
	return mean / float64((b.Dx()+1)/2*((b.Dy()+1)/2)), len(seen)
}
