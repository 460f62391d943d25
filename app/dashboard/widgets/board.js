// The board of experts: a canvas of layers by experts. Clicks, boxes and keys arrive as lists of names; every text is drawn, none is HTML.
// data: {title, unit, layers: [number], values: [[number or null]], counts: [[number]] or null, stops: [[0..1, css]],
//        low, high, middle: number or null, log: colours by the logarithm, edits: {name: kind}, symbols: {kind: glyph}, chosen: name or null,
//        share: of the window's height, hint, file}
const LEFT = 42, TOP = 26, TICKS = 34, LEGEND = 22, LEAST = 4, WIDEST = 34, HIGHEST = 28, STRIP = 4, OPEN = 14, GLYPH = 9, COMFORT = 20
const ZOOMS = [1, 1.5, 2, 3, 4], MANY_LAYERS = 8, STRONGEST = 3
const boards = new WeakMap()

export default function ({ data, parentElement, setTriggerValue }) {
  const canvas = parentElement.querySelector('canvas')
  let board = boards.get(canvas)
  if (!board) {
    board = { canvas, at: [0, 0], pending: [], zoom: 0, folded: false, open: new Set(), readout: parentElement.querySelector('.readout'),
      part: name => parentElement.querySelector(name) }
    boards.set(canvas, board)
    listen(board, parentElement)
    new ResizeObserver(() => draw(board)).observe(parentElement.querySelector('.board'))
    window.addEventListener('resize', () => draw(board))
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => setTimeout(() => draw(board), 100))
  }
  Object.assign(board, { data, pending: [], send: names => setTriggerValue('picked', names) })
  board.at = [Math.min(board.at[0], data.layers.length - 1), Math.min(board.at[1], widest(data) - 1)]
  canvas.setAttribute('aria-label', `${data.title}. ${data.hint}`)
  draw(board)
  say(board, board.over)
}

const widest = data => Math.max(...data.values.map(row => row.length))
const name = (data, [row, e]) => `L${data.layers[row]}E${e}`
const exists = (data, [row, e]) => row >= 0 && e >= 0 && row < data.layers.length && e < data.values[row].length
const short = v => Number(v.toPrecision(3)).toString()

// ---- how large the cells are: all of them fit, unless one zooms in; folded layers are strips

function sizes(board) {
  const { data, canvas } = board, columns = widest(data), zoom = ZOOMS[board.zoom]
  const room = canvas.parentElement.parentElement.clientWidth - LEFT - 4
  const tall = Math.max(120, data.share * window.innerHeight - TOP - TICKS - LEGEND)
  const opened = unfolded(board), strips = data.layers.length - opened.size
  const w = zoom * Math.max(LEAST, Math.min(WIDEST, room / columns))
  const h = zoom * Math.max(board.folded ? OPEN : LEAST, Math.min(HIGHEST, (tall - strips * STRIP) / opened.size))
  const heights = data.layers.map((_, r) => opened.has(r) ? h : STRIP), tops = []
  const end = heights.reduce((y, one) => { tops.push(y); return y + one }, TOP)
  const shown = TOP + heights.reduce((sum, one) => sum + (one === h ? h / zoom : one), 0) + TICKS + LEGEND
  return { columns, w, h, heights, tops, end, opened, width: LEFT + w * columns + 4, height: end + TICKS + LEGEND, shown }
}

// rows drawn in full: all, or those with an edit, with the strongest values, and those that were clicked
function unfolded(board) {
  const { data } = board, all = data.layers.map((_, r) => r)
  if (!board.folded) return new Set(all)
  const middle = data.middle ?? (data.low < 0 ? 0 : data.low)
  const strength = data.values.map(row => Math.max(...row.map(v => v === null ? 0 : Math.abs(v - middle))))
  const strongest = [...all].sort((a, b) => strength[b] - strength[a]).slice(0, STRONGEST)
  const named = [...Object.keys(data.edits), data.chosen].map(n => n && place(data, n)).filter(Boolean).map(([r]) => r)
  return new Set([...strongest, ...named, ...board.open])
}

const rowAt = (s, y) => s.tops.findIndex((top, r) => y >= top && y < top + s.heights[r])

const colour = (data, value) => shade(data, Math.max(0, Math.min(1, along(data, value))))

function shade(data, at) {
  let i = 1
  while (i < data.stops.length - 1 && data.stops[i][0] < at) i += 1
  const [[a, from], [b, to]] = [data.stops[i - 1], data.stops[i]], t = (at - a) / (b - a || 1)
  return `rgb(${from.map((c, k) => Math.round(c + t * (to[k] - c))).join(',')})`
}

// 0 at the low end of the colours, 1 at the high end; the middle of the scale need not be halfway
function along({ low, high, middle, log }, value) {
  if (log) return Math.log(value / low) / (Math.log(high / low) || 1)
  if (middle === null) return (value - low) / (high - low || 1)
  return value < middle ? 0.5 * (value - low) / (middle - low || 1) : 0.5 + 0.5 * (value - middle) / (high - middle || 1)
}

function draw(board) {
  const { canvas, data } = board, s = sizes(board), scale = window.devicePixelRatio || 1
  if (s.w <= 0 || !canvas.isConnected) return
  canvas.width = s.width * scale; canvas.height = s.height * scale
  canvas.style.width = `${s.width}px`; canvas.style.height = `${s.height}px`
  // where the cells are, for whoever drives the page from outside
  const rows = data.layers.map((n, r) => [n, s.tops[r], s.heights[r]])
  Object.assign(canvas.dataset, { left: LEFT, w: s.w, rows: JSON.stringify(rows) })
  canvas.parentElement.style.maxHeight = `${s.shown + 20}px`
  controls(board, s)
  const style = getComputedStyle(canvas), ink = style.color, ctx = canvas.getContext('2d')
  ctx.scale(scale, scale)
  paint(ctx, board, s, ink, style.fontFamily)
  if (document.activeElement && canvas.getRootNode().activeElement === canvas) frame(ctx, s, board.at, board.at, ink, 2)
  if (board.box) frame(ctx, s, board.box[0], board.box[1], ink, 2)
  for (const cell of board.pending) frame(ctx, s, cell, cell, '#D55E00', 2)
}

// the buttons that this board has a use for
function controls(board, s) {
  const fold = board.part('.fold'), many = board.data.layers.length > MANY_LAYERS
  fold.hidden = !many
  fold.textContent = board.folded ? 'Unfold layers' : 'Fold layers'
  const small = s.w / ZOOMS[board.zoom] < COMFORT || s.h / ZOOMS[board.zoom] < COMFORT
  for (const button of [board.part('.nearer'), board.part('.farther')]) button.hidden = !small
  board.part('.nearer').disabled = board.zoom === ZOOMS.length - 1
  board.part('.farther').disabled = board.zoom === 0
}

function zoom(board, by) {
  const pane = board.canvas.parentElement, before = board.canvas.clientWidth, down = board.canvas.clientHeight
  board.zoom = Math.max(0, Math.min(ZOOMS.length - 1, board.zoom + by))
  const x = (pane.scrollLeft + pane.clientWidth / 2) / before, y = (pane.scrollTop + pane.clientHeight / 2) / down
  draw(board)
  pane.scrollTo(x * board.canvas.clientWidth - pane.clientWidth / 2, y * board.canvas.clientHeight - pane.clientHeight / 2)
}

function fold(board) {
  board.folded = !board.folded; board.open.clear()
  draw(board)
}

function paint(ctx, board, s, ink, family) {
  const { data } = board
  ctx.fillStyle = ink; ctx.textBaseline = 'middle'
  ctx.font = `600 15px ${family}`
  ctx.fillText(data.title, 4, 10, s.width - 8)
  data.values.forEach((row, r) => row.forEach((value, e) => cell(ctx, data, s, r, e, value, ink)))
  axes(ctx, data, s, ink, family)
  legend(ctx, data, s, ink, family)
  const at = data.chosen && place(data, data.chosen)
  if (at) frame(ctx, s, at, at, '#E69F00', 3)
}

function cell(ctx, data, s, r, e, value, ink) {
  const x = LEFT + e * s.w, y = s.tops[r], h = s.heights[r], least = Math.min(s.w, h)
  const gap = least > 9 ? 1 : least > 4 ? 0.5 : 0, kind = data.edits[name(data, [r, e])]
  if (value === null) {
    ctx.globalAlpha = 0.3; ctx.strokeStyle = ink; ctx.lineWidth = 0.5
    ctx.strokeRect(x + gap + 0.5, y + gap + 0.5, s.w - 2 * gap - 1, h - 2 * gap - 1); ctx.globalAlpha = 1
  } else {
    ctx.fillStyle = colour(data, value)
    ctx.fillRect(x + gap, y + gap, s.w - 2 * gap, h - 2 * gap)
  }
  if (!kind) return
  if (least < GLYPH) {  // too small for a sign
    ctx.fillStyle = '#B34700'; ctx.fillRect(x, y, s.w, h); ctx.strokeStyle = '#fff'; ctx.lineWidth = 1
    ctx.strokeRect(x - 0.5, y - 0.5, s.w + 1, h + 1)
    return
  }
  ctx.fillStyle = '#fff'; ctx.fillRect(x + gap, y + gap, s.w - 2 * gap, h - 2 * gap)
  ctx.strokeStyle = '#000'; ctx.lineWidth = 2; ctx.strokeRect(x + 1, y + 1, s.w - 2, h - 2)
  const size = least * 0.85
  ctx.font = `700 ${size}px sans-serif`; ctx.textAlign = 'center'; ctx.fillStyle = '#B34700'
  ctx.fillText(data.symbols[kind] || '?', x + s.w / 2, y + h / 2 + size * 0.05); ctx.textAlign = 'start'
}

function axes(ctx, data, s, ink, family) {
  ctx.globalAlpha = 0.75; ctx.fillStyle = ink; ctx.font = `12px ${family}`; ctx.textAlign = 'right'
  let free = 0  // where the next number has room
  data.layers.forEach((n, r) => {
    const y = s.tops[r] + s.heights[r] / 2
    if (y < free || !s.opened.has(r)) return
    ctx.fillText(String(n), LEFT - 5, y); free = y + 13
  })
  ctx.save(); ctx.translate(8, (TOP + s.end) / 2); ctx.rotate(-Math.PI / 2); ctx.textAlign = 'center'
  ctx.fillText('layer', 0, 0); ctx.restore()
  ctx.textAlign = 'center'
  const steps = [1, 2, 5, 10, 20, 50, 100], step = steps.find(n => n * s.w >= 26) || 200, y = s.end + 9
  for (let e = 0; e < s.columns; e += step) ctx.fillText(String(e), LEFT + (e + 0.5) * s.w, y)
  ctx.fillText('expert', LEFT + s.columns * s.w / 2, y + 16)
  ctx.globalAlpha = 1; ctx.textAlign = 'start'
}

function legend(ctx, data, s, ink, family) {
  const y = s.end + TICKS + 8, wide = 120, x = LEFT
  ctx.fillStyle = ink; ctx.globalAlpha = 0.75; ctx.font = `12px ${family}`
  const low = short(data.low), start = x + ctx.measureText(low).width + 5
  ctx.fillText(low, x, y)
  const even = data.log ? ', by factors' : data.middle === null ? '' : `, even ${short(data.middle)} in the middle`
  ctx.fillText(`${short(data.high)}  ${data.unit}${even}`, start + wide + 5, y, Math.max(20, s.width - start - wide - 9))
  ctx.globalAlpha = 1
  for (let i = 0; i < wide; i += 1) {
    ctx.fillStyle = shade(data, i / (wide - 1)); ctx.fillRect(start + i, y - 6, 1.5, 12)
  }
}

function frame(ctx, s, [r, e], [q, f], ink, width) {
  const x = LEFT + Math.min(e, f) * s.w, first = Math.min(r, q), last = Math.max(r, q)
  ctx.strokeStyle = ink; ctx.lineWidth = width
  ctx.strokeRect(x, s.tops[first], (Math.abs(e - f) + 1) * s.w, s.tops[last] + s.heights[last] - s.tops[first])
}

// ---- what is under the mouse or the keys

function place(data, text) {
  const found = /^L(\d+)E(\d+)$/.exec(text), row = found ? data.layers.indexOf(Number(found[1])) : -1
  return row < 0 ? null : [row, Number(found[2])]
}

function under(board, event) {
  const box = board.canvas.getBoundingClientRect(), s = sizes(board)
  return [rowAt(s, event.clientY - box.top), Math.floor((event.clientX - box.left - LEFT) / s.w)]
}

function inside(board, [r, e]) {
  return [Math.max(0, Math.min(board.data.layers.length - 1, r)), Math.max(0, Math.min(widest(board.data) - 1, e))]
}

function say(board, at) {
  const { data } = board
  board.over = at
  if (!at || !exists(data, at)) { board.readout.textContent = data.hint; return }
  const value = data.values[at[0]][at[1]], kind = data.edits[name(data, at)], n = data.counts && data.counts[at[0]][at[1]]
  const said = value === null ? 'no value' : `${Number(value.toPrecision(4))} (${data.unit})`
  const closed = unfolded(board).has(at[0]) ? '' : `layer ${data.layers[at[0]]} is folded, a click opens it; `
  board.readout.textContent = `${closed}${name(data, at)}: ${said}${n === null || n === undefined ? '' : `; n = ${n.toLocaleString('en')}`}${kind ? `; ${kind}` : ''}`
}

function pick(board, [r, e], [q, f]) {
  const cells = [], opened = unfolded(board)
  for (let row = Math.min(r, q); row <= Math.max(r, q); row += 1) {
    if (opened.has(row)) for (let x = Math.min(e, f); x <= Math.max(e, f); x += 1) if (exists(board.data, [row, x])) cells.push([row, x])
  }
  if (!cells.length) {  // folded layers open first
    for (let row = Math.min(r, q); row <= Math.max(r, q); row += 1) board.open.add(row)
    draw(board)
    return
  }
  board.pending = cells
  board.send(cells.map(c => name(board.data, c)))
  draw(board)
}

function listen(board, parent) {
  const { canvas } = board
  canvas.onpointerdown = event => {
    const at = under(board, event)
    if (event.button || event.pointerType === 'touch') return
    board.from = inside(board, at); canvas.setPointerCapture(event.pointerId)
  }
  canvas.onpointermove = event => {
    const at = under(board, event)
    if (board.from) {
      const to = inside(board, at), moved = to[0] !== board.from[0] || to[1] !== board.from[1]
      if (moved || board.box) { board.box = [board.from, to]; draw(board) }
    }
    say(board, at)
  }
  canvas.onpointerup = () => {
    if (board.box) { board.boxed = true; const [a, b] = board.box; board.box = null; pick(board, a, b) }
    board.from = null
  }
  canvas.onpointercancel = () => { board.from = board.box = null; draw(board) }
  canvas.onclick = event => {  // the end of a box is no click
    const at = under(board, event)
    if (!board.boxed && exists(board.data, at)) { board.at = at; pick(board, at, at) }
    board.boxed = false
  }
  canvas.onpointerleave = () => say(board, null)
  canvas.onfocus = canvas.onblur = () => { draw(board); say(board, canvas.matches(':focus-visible') ? board.at : null) }
  canvas.onkeydown = event => key(board, event)
  canvas.onwheel = event => { if (event.ctrlKey) { event.preventDefault(); zoom(board, event.deltaY < 0 ? 1 : -1) } }
  board.part('.nearer').onclick = () => zoom(board, 1)
  board.part('.farther').onclick = () => zoom(board, -1)
  board.part('.fold').onclick = () => fold(board)
  parent.querySelector('.picture').onclick = () => picture(board)
  parent.querySelector('.csv').onclick = () => save(board, 'csv', new Blob([table(board.data)], { type: 'text/csv' }))
}

const MOVES = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }

function key(board, event) {
  const move = MOVES[event.key], last = board.data.values[board.at[0]].length - 1
  if (move && event.shiftKey) {
    const [a, b] = board.box || [board.at, board.at]
    board.box = [a, inside(board, [b[0] + move[0], b[1] + move[1]])]
  } else if (move) { board.box = null; board.at = inside(board, [board.at[0] + move[0], board.at[1] + move[1]]) }
  else if (event.key === 'Home') board.at = [board.at[0], 0]
  else if (event.key === 'End') board.at = [board.at[0], last]
  else if (event.key === 'Escape') board.box = null
  else if (event.key === '+' || event.key === '-') zoom(board, event.key === '+' ? 1 : -1)
  else if (event.key === ' ' || event.key === 'Enter') {
    const [a, b] = board.box || [board.at, board.at]
    board.box = null; pick(board, a, b)
  } else return
  event.preventDefault(); event.stopPropagation()
  draw(board); say(board, board.box ? board.box[1] : board.at)
}

// ---- downloads

function picture(board) {
  const s = sizes(board), style = getComputedStyle(board.canvas), copy = document.createElement('canvas'), ctx = copy.getContext('2d')
  copy.width = 2 * s.width; copy.height = 2 * s.height
  ctx.scale(2, 2); ctx.fillStyle = '#fff'; ctx.fillRect(0, 0, s.width, s.height)
  paint(ctx, board, s, '#222', style.fontFamily)
  copy.toBlob(blob => save(board, 'png', blob))
}

function table(data) {
  const quoted = text => `"${text.replaceAll('"', '""')}"`
  const lines = [['layer', 'expert', quoted(data.unit), 'n', 'edit'].join(',')]
  data.values.forEach((row, r) => row.forEach((value, e) => lines.push([
    data.layers[r], e, value ?? '', data.counts ? data.counts[r][e] : '', data.edits[name(data, [r, e])] || '',
  ].join(','))))
  return lines.join('\n') + '\n'
}

function save(board, ending, blob) {
  const link = document.createElement('a')
  link.href = URL.createObjectURL(blob); link.download = `${board.data.file}.${ending}`; link.click()
  setTimeout(() => URL.revokeObjectURL(link.href), 10000)
}
