package data

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"errors"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// tree is a folder of files, or an archive read as one. Names are relative to
// its root, with slashes; "" is the root itself. It is safe for concurrent use.
type tree interface {
	// at says where name is, for messages.
	at(name string) string
	// list is what a folder holds, but for what is hidden (see isHidden), sorted by
	// bytes. Links that lead nowhere are in it with an error.
	list(dir string) ([]entry, error)
	// read is a file's content; the caller must not write to it.
	read(name string) ([]byte, error)
}

type entry struct {
	name string // without its folder
	dir  bool
	err  error // of a link
}

// listed is t.list, whose first error is an entry's too.
func listed(t tree, dir string) ([]entry, error) {
	entries, err := t.list(dir)
	for _, e := range entries {
		if e.err != nil {
			return nil, e.err
		}
	}
	return entries, err
}

// maxFile bounds one file of a set, and one member of an archive unpacked.
const maxFile = 256 << 20

// isHidden is true for what file managers and archivers leave behind: names
// that begin with a dot, and a few folders of theirs. It is never an image or a
// class.
func isHidden(name string) bool {
	switch name {
	case "__MACOSX", "@eaDir", "$RECYCLE.BIN", "System Volume Information", "lost+found":
		return true
	}
	return strings.HasPrefix(name, ".")
}

// openTree opens a folder, or a .zip, .tar or .tar.gz file as one. want says
// what it should be.
func openTree(root, want string) (tree, error) {
	st, err := os.Stat(root)
	if err != nil {
		return nil, readFailed(root, err)
	}
	if st.IsDir() {
		return folder(root), nil
	}
	f, err := os.Open(root)
	if err != nil {
		return nil, readFailed(root, err)
	}
	a, err := openArchive(root, f, st.Size(), want)
	if err != nil {
		f.Close()
		return nil, err
	}
	return a.descend(), nil
}

// folder is a folder on disk; links are followed.
type folder string

func (d folder) at(name string) string {
	if d == "" {
		return name
	}
	return filepath.Join(string(d), filepath.FromSlash(name))
}

func (d folder) read(name string) ([]byte, error) {
	at := d.at(name)
	f, err := os.Open(at)
	if err != nil {
		return nil, readFailed(at, err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, readFailed(at, err)
	}
	if st.IsDir() {
		return nil, badf(at, "is a folder, not a file")
	}
	if st.Size() > maxFile {
		return nil, badf(at, "%d bytes: files of more than %d are not read", st.Size(), maxFile)
	}
	raw, err := readExactly(f, st.Size())
	if err != nil {
		return nil, readFailed(at, err)
	}
	return raw, nil
}

func (d folder) list(dir string) ([]entry, error) {
	at := d.at(dir)
	if err := d.looped(dir); err != nil {
		return nil, err
	}
	found, err := os.ReadDir(at) // sorted
	if err != nil {
		return nil, readFailed(at, err)
	}
	var out []entry
	for _, e := range found {
		if isHidden(e.Name()) {
			continue
		}
		is := e.IsDir()
		if e.Type()&os.ModeSymlink != 0 {
			path := filepath.Join(at, e.Name())
			st, err := os.Stat(path)
			if err != nil {
				if to, e := os.Readlink(path); e == nil && errors.Is(err, os.ErrNotExist) {
					err = badf(path, "is a link to %s, which is not there", to).because(err)
				}
				out = append(out, entry{e.Name(), false, readFailed(path, err)})
				continue
			}
			is = st.IsDir()
		}
		out = append(out, entry{e.Name(), is, nil})
	}
	return out, nil
}

// looped is an error if dir is a folder that it is in, through a link.
func (d folder) looped(dir string) error {
	self, err := os.Stat(d.at(dir))
	if err != nil {
		return readFailed(d.at(dir), err)
	}
	for above := dir; above != ""; {
		if above = path.Dir(above); above == "." {
			above = ""
		}
		if st, err := os.Stat(d.at(above)); err == nil && os.SameFile(st, self) {
			return badf(d.at(dir), "is a link to a folder that it is in")
		}
	}
	return nil
}

// archive is a zip or tar file read in place: nothing is unpacked to disk, so
// that no name in it can lead anywhere. Links are followed within it.
type archive struct {
	path    string
	root    string // a folder in it that stands for the root, with a slash behind, or ""
	folders map[string][]entry
	members map[string]archived
	links   map[string]archivedLink
}

// archivedLink is where a link leads: a path from its own folder or, as hard
// links have it, from the archive's root.
type archivedLink struct {
	target string
	hard   bool
}

// archived is a file of an archive: its bytes, in memory or still to be read.
type archived struct {
	size int64
	body []byte                                  // of a compressed tar
	open func(size int64) (io.ReadCloser, error) // otherwise
}

func (a *archive) at(name string) string { return a.path + ": " + a.root + name }

func (a *archive) list(dir string) ([]entry, error) {
	key, err := a.real(a.root + dir)
	if err != nil {
		return nil, err
	}
	for above := strings.TrimSuffix(a.root+dir, "/"); above != ""; {
		if above, _ = path.Split(above); above != "" {
			above = above[:len(above)-1]
		}
		if k, err := a.real(above); err == nil && k == key && len(a.links) > 0 {
			return nil, badf(a.at(dir), "is a link to a folder that it is in")
		}
	}
	found, ok := a.folders[key]
	if !ok {
		return nil, badf(a.at(dir), "no such folder in the archive").because(os.ErrNotExist)
	}
	return found, nil
}

// maxLinks is how many links may follow each other on the way to a file.
const maxLinks = 40

// real is where a name in the archive leads when links are followed.
func (a *archive) real(name string) (string, error) {
	if len(a.links) == 0 {
		return strings.TrimSuffix(name, "/"), nil
	}
	out, rest := "", strings.Split(name, "/")
	for links := 0; len(rest) > 0; {
		part := rest[0]
		rest = rest[1:]
		switch part {
		case "", ".":
			continue
		case "..":
			if out == "" {
				return "", badf(a.path+": "+name, "is a link that leads out of the archive")
			}
			out = strings.TrimSuffix(out[:strings.LastIndexByte("/"+out, '/')], "/")
			continue
		}
		at := path.Join(out, part)
		to, ok := a.links[at]
		if !ok {
			out = at
			continue
		}
		if links++; links > maxLinks {
			return "", badf(a.path+": "+name, "is a link that leads around in a circle")
		}
		if to.hard {
			out = ""
		} else if path.IsAbs(to.target) {
			return "", badf(a.path+": "+name, "is a link to %s, which leads out of the archive", to.target)
		}
		rest = append(strings.Split(to.target, "/"), rest...)
	}
	return out, nil
}

func (a *archive) read(name string) ([]byte, error) {
	key, err := a.real(a.root + name)
	if err != nil {
		return nil, err
	}
	m, ok := a.members[key]
	if !ok {
		return nil, badf(a.at(name), "no such file in the archive").because(os.ErrNotExist)
	}
	raw, err := m.read()
	if err != nil {
		return nil, readFailed(a.at(name), err)
	}
	return raw, nil
}

func (m archived) read() ([]byte, error) {
	if m.body != nil || m.open == nil {
		return m.body, nil
	}
	r, err := m.open(m.size)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	raw, err := readExactly(r, m.size)
	if err == nil {
		// To the end, where a zip's checksum is.
		if n, end := r.Read(make([]byte, 1)); n > 0 {
			err = errors.New("it is longer than its header says")
		} else if end != nil && end != io.EOF {
			err = end
		}
	}
	return raw, err
}

// descend goes into a folder that is the archive's only entry, as when a
// folder was packed whole.
func (a *archive) descend() *archive {
	for {
		top := a.folders[strings.TrimSuffix(a.root, "/")]
		if len(top) != 1 || !top[0].dir || splitOf(top[0].name) != "" {
			return a
		}
		inner := a.folders[a.root+top[0].name]
		if !slices.ContainsFunc(inner, func(e entry) bool { return e.dir }) {
			return a
		}
		down := *a
		down.root += top[0].name + "/"
		a = &down
	}
}

// add enters a member.
func (a *archive) add(name string, m archived) error {
	clean, err := a.clean(name)
	if clean != "" {
		a.members[clean] = m
	}
	return err
}

// addLink enters a link; where it leads is looked at when all members are there.
func (a *archive) addLink(name string, to archivedLink) error {
	clean, err := a.clean(name)
	if len(to.target) > 4096 {
		return badf(a.path+": "+clean, "is a link to a name of %d bytes", len(to.target))
	}
	if clean != "" {
		a.links[clean] = to
	}
	return err
}

// clean is a member's name, or nothing if it is hidden. A name that leads out of
// the archive is an error.
func (a *archive) clean(name string) (string, error) {
	clean := path.Clean(strings.ReplaceAll(name, `\`, "/"))
	if path.IsAbs(clean) || clean == ".." || strings.HasPrefix(clean, "../") {
		return "", badf(a.path, "a file in it is named %q, which leads out of the archive", name)
	}
	if strings.Count(clean, "/") > maxDepth {
		return "", badf(a.path, "a file in it lies more than %d folders deep: %.80q…", maxDepth, name)
	}
	parts := strings.Split(clean, "/")
	if slices.ContainsFunc(parts, isHidden) {
		return "", nil
	}
	_, twice := a.members[clean]
	if _, link := a.links[clean]; twice || link {
		return "", badf(a.path+": "+clean, "the archive has two files of this name")
	}
	return clean, nil
}

// maxDepth is how deep folders may lie in each other in an archive.
const maxDepth = 64

// index makes the folders' lists from the members' names and the links.
func (a *archive) index() error {
	a.folders = map[string][]entry{"": nil}
	made := map[string]bool{}
	enter := func(name string, last entry) error {
		for child, e := name, last; child != ""; e = (entry{dir: true}) {
			if e.dir && child != name {
				if made[child] {
					return nil
				}
				made[child] = true
				_, file := a.members[child]
				if _, link := a.links[child]; file || link {
					return badf(a.path+": "+child, "is both a file and a folder in the archive")
				}
			}
			dir, base := path.Split(child)
			dir = strings.TrimSuffix(dir, "/")
			e.name = base
			a.folders[dir] = append(a.folders[dir], e)
			child = dir
		}
		return nil
	}
	for name := range a.members {
		if err := enter(name, entry{}); err != nil {
			return err
		}
	}
	type link struct {
		name string
		entry
	}
	var links []link
	for name := range a.links {
		l := link{name: name}
		key, err := a.real(name)
		_, isFile := a.members[key]
		switch _, isDir := a.folders[key]; {
		case err != nil:
			l.err = err
		case isFile:
		case isDir:
			l.dir = true
		default:
			l.err = badf(a.path+": "+name, "is a link to %s, which is not in the archive", a.links[name].target).because(os.ErrNotExist)
		}
		links = append(links, l)
	}
	for _, l := range links {
		if err := enter(l.name, l.entry); err != nil {
			return err
		}
	}
	for _, list := range a.folders {
		slices.SortFunc(list, func(x, y entry) int { return strings.Compare(x.name, y.name) })
	}
	return nil
}

// openArchive lists a zip or tar file (plain or gzipped), told apart by its
// first bytes, and keeps f open for the members.
func openArchive(path string, f archiveFile, size int64, want string) (*archive, error) {
	a := &archive{path: path, members: map[string]archived{}, links: map[string]archivedLink{}}
	head := make([]byte, 4)
	n, err := f.ReadAt(head, 0)
	if err != nil && err != io.EOF {
		return nil, readFailed(path, err)
	}
	switch head = head[:n]; {
	case bytes.HasPrefix(head, []byte("PK")):
		err = a.addZip(f, size)
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		err = a.addGzippedTar(f, size, want)
	default:
		err = a.addTar(f, want)
	}
	if err != nil {
		return nil, err
	}
	if len(a.members)+len(a.links) == 0 {
		return nil, badf(path, "no files in this archive: it should be %s", want)
	}
	return a, a.index()
}

// archiveFile is an *os.File, or in tests a *bytes.Reader.
type archiveFile interface {
	io.ReadSeeker
	io.ReaderAt
}

func (a *archive) addZip(f archiveFile, size int64) error {
	z, err := zip.NewReader(f, size)
	if err != nil && !errors.Is(err, zip.ErrInsecurePath) {
		return badf(a.path, "damaged zip archive: %v", err)
	}
	for _, m := range z.File {
		n := m.UncompressedSize64
		switch {
		case m.Mode()&os.ModeSymlink != 0: // its content is where it leads
			to, err := archived{size: int64(min(n, 1<<16)), open: func(int64) (io.ReadCloser, error) { return m.Open() }}.read()
			if err != nil {
				return readFailed(a.path+": "+m.Name, err)
			}
			if err := a.addLink(m.Name, archivedLink{target: string(to)}); err != nil {
				return err
			}
			continue
		case !m.Mode().IsRegular():
			continue
		}
		if n > maxFile || int64(n) > maxUnpacked(int64(min(m.CompressedSize64, maxFile))) {
			return badf(a.path+": "+m.Name, "%d bytes, packed into %d: not a file that is read from an archive", n, m.CompressedSize64)
		}
		if err := a.add(m.Name, archived{size: int64(n), open: func(int64) (io.ReadCloser, error) { return m.Open() }}); err != nil {
			return err
		}
	}
	return nil
}

// eachInTar calls each with the files of a tar archive, and with its links.
func eachInTar(path string, r io.Reader, want string, each func(h *tar.Header, body io.Reader) error) error {
	t := tar.NewReader(r)
	for first := true; ; first = false {
		h, err := t.Next()
		switch {
		case err == io.EOF && !first:
			return nil
		case err != nil && first && (errors.Is(err, tar.ErrHeader) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)):
			return badf(path, "is a file, and neither a zip nor a tar archive: it should be %s", want)
		case errors.Is(err, tar.ErrHeader):
			return badf(path, "damaged tar archive: %v", err)
		case errors.Is(err, tar.ErrInsecurePath): // add says so, with the name
		case err != nil:
			return readFailed(path, err)
		}
		switch h.Typeflag {
		case tar.TypeReg, tar.TypeLink, tar.TypeSymlink, tar.TypeGNUSparse:
		default: // folders, devices
			continue
		}
		if h.Size > maxFile {
			return badf(path+": "+h.Name, "%d bytes: files of more than %d are not read", h.Size, int64(maxFile))
		}
		sparse := h.Typeflag == tar.TypeGNUSparse
		for key := range h.PAXRecords {
			sparse = sparse || strings.HasPrefix(key, "GNU.sparse")
		}
		if sparse {
			return badf(path+": "+h.Name, "is stored with holes (a sparse file), which is not read")
		}
		if err := each(h, t); err != nil {
			return err
		}
	}
}

func isLink(h *tar.Header) bool { return h.Typeflag == tar.TypeLink || h.Typeflag == tar.TypeSymlink }

// addTar enters the places of members: headers are read, bodies are skipped.
func (a *archive) addTar(f archiveFile, want string) error {
	return eachInTar(a.path, f, want, func(h *tar.Header, _ io.Reader) error {
		if isLink(h) {
			return a.addLink(h.Name, archivedLink{h.Linkname, h.Typeflag == tar.TypeLink})
		}
		at, err := f.Seek(0, io.SeekCurrent)
		if err != nil {
			return readFailed(a.path, err)
		}
		return a.add(h.Name, archived{size: h.Size, open: func(n int64) (io.ReadCloser, error) {
			return io.NopCloser(io.NewSectionReader(f, at, n)), nil
		}})
	})
}

// maxGzippedTar bounds what a gzipped tar holds, since it can't be read in
// place and is kept in memory; see also maxUnpacked.
const maxGzippedTar = 2 << 30

func (a *archive) addGzippedTar(f io.Reader, size int64, want string) error {
	z, _, err := maybeGzip(a.path, f)
	if err != nil {
		return err
	}
	total := int64(0)
	err = eachInTar(a.path, z, want, func(h *tar.Header, body io.Reader) error {
		if isLink(h) {
			return a.addLink(h.Name, archivedLink{h.Linkname, h.Typeflag == tar.TypeLink})
		}
		if total += h.Size; total > min(maxGzippedTar, maxUnpacked(size)) {
			return badf(a.path, "more than %d MB unpacked, which would have to be kept in memory: gunzip it, a plain .tar is read in place", min(maxGzippedTar, maxUnpacked(size))>>20)
		}
		raw, err := readExactly(body, h.Size)
		if err != nil {
			return readFailed(a.path+": "+h.Name, err)
		}
		return a.add(h.Name, archived{size: h.Size, body: raw})
	})
	if err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, z); err != nil { // to gzip's checksum
		return readFailed(a.path, err)
	}
	return nil
}
