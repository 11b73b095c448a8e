package cpu

// strassen is a 1×1 convolution, or its data gradient, by seven products of half
// the size in every direction where the definition takes eight (Strassen 1969, in
// Winograd's form, with 15 sums). A task's positions are cut in two halves, A1 and
// A2, as is the depth, A11 to A22; of each pair of panels the first is B11 over
// B21, the second B12 over B22, the results of both halves C11 to C22:
//
//	S1 = A21 + A22   T1 = B12 − B11   M1 = A11·B11   M5 = S1·T1   C11 = M1 + M2
//	S2 = S1 − A11    T2 = B22 − T1    M2 = A12·B21   M6 = S2·T2   C12 = M1 + M6 + M5 + M3
//	S3 = A11 − A21   T3 = B22 − B12   M3 = S4·B22    M7 = S3·T3   C21 = M1 + M6 + M7 + M4
//	S4 = A12 − S2    T4 = B21 − T2    M4 = A22·T4                 C22 = M1 + M6 + M7 + M5
//
// Most of the sums of products are made by the kernels, which add to what is there.
// What comes of one position depends, in its last bits, on the one it is paired
// with, and all of it where that is not finite: only for programs whose batch norms
// mix images anyway.
type strassen struct{ *pointwise }

const (
	strassenDepth  = 512 // at a time, both halves
	strassenFewest = 128 // depth, and channels
)

// The matrices of a pair of panels, as they are packed.
const (
	strassenB11 = iota
	strassenB21
	strassenB22
	strassenT1
	strassenT2
	strassenT3
	strassenT4
	strassenParts
)

// halved is a 1×1 convolution by strassen, where it pays.
func (c *compiler) halved(p correlator) correlator {
	v, ok := p.(*pointwise)
	if !ok || c.opt.Conv == convDirect || c.opt.Conv != convWinograd && (!c.mixes || c.set.Name == "generic" || !v.worthHalving()) {
		return p
	}
	kc, block := even(v.ci, strassenDepth), v.block
	if !v.whole {
		block += block % 2
	}
	if v.ci%kc != 0 || kc%2 != 0 || v.m%2 != 0 || block%2 != 0 || v.co%(2*v.set.Tiles[0].NR) != 0 {
		return p
	}
	v.kc, v.block, v.unit = kc, block, 2
	v.cuts = min(v.cuts, len(v.panels)/2)
	return &strassen{v}
}

func (v *pointwise) worthHalving() bool { return v.ci >= strassenFewest && v.co >= strassenFewest }

func (v *strassen) cost() float64 { return v.flops() * 7 / 8 }

func (v *strassen) pieces() int { return v.ci / v.kc }

// matrix is the floats of one of the matrices of a pair of panels.
func (v *strassen) matrix() int { return v.kc / 2 * v.set.Tiles[0].NR }

func (v *strassen) packedLen() int { return v.packTasks() * strassenParts * v.matrix() }

func (v *strassen) packTasks() int { return len(v.panels) / 2 * v.pieces() }

// pack makes the matrices of a pair of panels and a piece of the depth.
func (v *strassen) pack(i int, packed, w, b12 []float32) {
	pair, l0 := i/v.pieces(), i%v.pieces()*v.kc
	n, depth := v.matrix(), v.kc/2
	part := func(k int) []float32 { return packed[(i*strassenParts+k)*n:][:n] }
	get := func(dst []float32, panel, l int) {
		p := v.panels[2*pair+panel]
		packPanel(v.set, dst, p, depth, w[l*v.in+p.col*v.out+v.tap[0]:], v.in, v.out)
	}
	b11, b21, b22 := part(strassenB11), part(strassenB21), part(strassenB22)
	t1, t2, t3, t4 := part(strassenT1), part(strassenT2), part(strassenT3), part(strassenT4)
	get(b11, 0, l0)
	get(b21, 0, l0+depth)
	get(b12, 1, l0)
	get(b22, 1, l0+depth)
	sub := func(dst, a, b []float32) { v.set.SubRows(dst, n, a, n, b, n, 1, n) }
	sub(t1, b12, b11)
	sub(t2, b22, t1)
	sub(t3, b22, b12)
	sub(t4, b21, t2)
}

func (v *strassen) scratch() int {
	h, nr := v.block/2, v.set.Tiles[0].NR
	return max(v.matrix(), v.pointwise.scratch()+4*h*(v.kc/2+gap)+3*h*nr)
}

func (v *strassen) run(i int, j *job, scratch []float32, own *pointers) {
	m0, m, panels := v.task(i)
	h, depth, nr, lds := m/2, v.kc/2, v.set.Tiles[0].NR, v.kc/2+gap
	t, u, x, scratch := scratch[:h*nr], scratch[h*nr:][:h*nr], scratch[2*h*nr:][:h*nr], scratch[3*h*nr:]
	s, scratch := scratch[:4*h*lds], scratch[4*h*lds:]
	s1, s2, s3, s4 := s, s[h*lds:], s[2*h*lds:], s[3*h*lds:]
	y, ldy, o0, scratch := v.results(m0, m, panels, j, scratch)
	for l0 := 0; l0 < v.ci; l0 += v.kc {
		a, lda := v.stream(m0, m, l0, v.kc, j, scratch)
		v.set.QuarterSums(s, h*lds, lds, a, h*lda, lda, h, depth)
		a11, a12, a22 := a, a[depth:], a[h*lda+depth:]
		add := l0 > 0 || j.add != nil && v.step == 1
		for k := 0; k < len(panels); k += 2 {
			p, q := &panels[k], &panels[k+1]
			b := j.packed[(p.col/(2*nr)*v.pieces()+l0/v.kc)*strassenParts*v.matrix():]
			multiply := func(a []float32, lda, part int, to []float32, ldt int, plus []float32, ldp int) {
				p.tile.ColumnsPlus(h, depth, a, lda, 1, b[part*v.matrix():], nr, to, ldt, plus, ldp, nr, nil, &own.ahead)
			}
			// result is a product with what is to be added to it.
			result := func(a []float32, lda, part int, to, plus []float32) {
				if !add {
					multiply(a, lda, part, to, ldy, plus, nr)
					return
				}
				multiply(a, lda, part, to, ldy, to, ldy)
				v.set.AddRows(to, ldy, to, ldy, plus, nr, h, nr)
			}
			c11, c12 := y[p.col-o0:], y[q.col-o0:]
			c21, c22 := y[h*ldy+p.col-o0:], y[h*ldy+q.col-o0:]
			multiply(a11, lda, strassenB11, t, nr, nil, 0)
			result(a12, lda, strassenB21, c11, t)
			multiply(s2, lds, strassenT2, t, nr, t, nr)
			multiply(s1, lds, strassenT1, u, nr, t, nr)
			result(s4, lds, strassenB22, c12, u)
			multiply(s3, lds, strassenT3, x, nr, nil, 0)
			v.set.Add(t, t, x)
			result(a22, lda, strassenT4, c21, t)
			if add {
				v.set.AddRows(c22, ldy, c22, ldy, u, nr, h, nr)
				v.set.AddRows(c22, ldy, c22, ldy, x, nr, h, nr)
			} else {
				v.set.AddRows(c22, ldy, u, nr, x, nr, h, nr)
			}
		}
	}
	v.put(m0, m, o0, y, ldy, j)
}
