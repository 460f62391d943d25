// The board of experts: a canvas of layers by experts. Clicks, boxes and keys arrive as lists of names; every text is drawn, none is HTML.
// data: {title, unit, layers: [number], values: [[number or null]], counts: [[number]] or null, stops: [[0..1, css]],
//        low, high, edits: {name: kind}, symbols: {kind: glyph}, chosen: name or null, hint, file}
const LEFT = 42, TOP = 26, TICKS = 34, LEGEND = 22, LEAST = 6, WIDEST = 34
const boards = new WeakMap()

export default function ({ data, parentElement, setTriggerValue }) {
  const canvas = parentElement.querySelector('canvas')
  let board = boards.get(canvas)
  if (!board) {
    board = { canvas, at: [0, 0], pending: [], readout: parentElement.querySelector('.readout') }
    boards.set(canvas, board)
    listen(board, parentElement)
    new ResizeObserver(() => draw(board)).observe(parentElement.querySelector('.board'))
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

function sizes(board) {
  const { data, canvas } = board, rows = data.layers.length, columns = widest(data)
  const room = canvas.parentElement.parentElement.clientWidth - LEFT - 4
  const w = Math.max(LEAST, Math.min(WIDEST, room / columns))
  const h = Math.max(10, Math.min(28, 620 / rows))
  return { rows, columns, w, h, width: LEFT + w * columns + 4, height: TOP + h * rows + TICKS + LEGEND }
}

function colour(data, value) {
  const at = Math.max(0, Math.min(1, (value - data.low) / (data.high - data.low || 1)))
  let i = 1
  while (i < data.stops.length - 1 && data.stops[i][0] < at) i += 1
  const [[a, from], [b, to]] = [data.stops[i - 1], data.stops[i]], t = (at - a) / (b - a || 1)
  return `rgb(${from.map((c, k) => Math.round(c + t * (to[k] - c))).join(',')})`
}

function draw(board) {
  const { canvas, data } = board, s = sizes(board), scale = window.devicePixelRatio || 1
  if (s.w <= 0 || !canvas.isConnected) return
  canvas.width = s.width * scale; canvas.height = s.height * scale
  canvas.style.width = `${s.width}px`; canvas.style.height = `${s.height}px`
  // where the cells are, for whoever drives the page from outside
  Object.assign(canvas.dataset, { left: LEFT, top: TOP, w: s.w, h: s.h, layers: JSON.stringify(data.layers) })
  const style = getComputedStyle(canvas), ink = style.color, ctx = canvas.getContext('2d')
  ctx.scale(scale, scale)
  paint(ctx, board, s, ink, style.fontFamily)
  if (document.activeElement && canvas.getRootNode().activeElement === canvas) frame(ctx, s, board.at, board.at, ink, 2)
  if (board.box) frame(ctx, s, board.box[0], board.box[1], ink, 2)
  for (const cell of board.pending) frame(ctx, s, cell, cell, '#D55E00', 2)
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
  const x = LEFT + e * s.w, y = TOP + r * s.h, gap = s.w > 9 ? 1 : s.w > 4 ? 0.5 : 0, kind = data.edits[name(data, [r, e])]
  if (value === null) {
    ctx.globalAlpha = 0.3; ctx.strokeStyle = ink; ctx.lineWidth = 0.5
    ctx.strokeRect(x + gap + 0.5, y + gap + 0.5, s.w - 2 * gap - 1, s.h - 2 * gap - 1); ctx.globalAlpha = 1
  } else {
    ctx.fillStyle = colour(data, value)
    ctx.fillRect(x + gap, y + gap, s.w - 2 * gap, s.h - 2 * gap)
  }
  if (!kind) return
  ctx.fillStyle = '#fff'; ctx.fillRect(x + gap, y + gap, s.w - 2 * gap, s.h - 2 * gap)
  ctx.strokeStyle = '#000'; ctx.lineWidth = 2; ctx.strokeRect(x + 1, y + 1, s.w - 2, s.h - 2)
  const size = Math.min(s.w, s.h) * 0.85
  ctx.font = `700 ${size}px sans-serif`; ctx.textAlign = 'center'; ctx.fillStyle = '#B34700'
  ctx.fillText(data.symbols[kind] || '?', x + s.w / 2, y + s.h / 2 + size * 0.05); ctx.textAlign = 'start'
}

function axes(ctx, data, s, ink, family) {
  ctx.globalAlpha = 0.75; ctx.fillStyle = ink; ctx.font = `12px ${family}`; ctx.textAlign = 'right'
  const rows = Math.ceil(14 / s.h)
  data.layers.forEach((n, r) => { if (r % rows === 0) ctx.fillText(String(n), LEFT - 5, TOP + (r + 0.5) * s.h) })
  ctx.save(); ctx.translate(8, TOP + s.rows * s.h / 2); ctx.rotate(-Math.PI / 2); ctx.textAlign = 'center'
  ctx.fillText('layer', 0, 0); ctx.restore()
  ctx.textAlign = 'center'
  const steps = [1, 2, 5, 10, 20, 50, 100], step = steps.find(n => n * s.w >= 26) || 200, y = TOP + s.rows * s.h + 9
  for (let e = 0; e < s.columns; e += step) ctx.fillText(String(e), LEFT + (e + 0.5) * s.w, y)
  ctx.fillText('expert', LEFT + s.columns * s.w / 2, y + 16)
  ctx.globalAlpha = 1; ctx.textAlign = 'start'
}

function legend(ctx, data, s, ink, family) {
  const y = TOP + s.rows * s.h + TICKS + 8, wide = 120, x = LEFT
  ctx.fillStyle = ink; ctx.globalAlpha = 0.75; ctx.font = `12px ${family}`
  const low = short(data.low), start = x + ctx.measureText(low).width + 5
  ctx.fillText(low, x, y)
  ctx.fillText(`${short(data.high)}  ${data.unit}`, start + wide + 5, y, Math.max(20, s.width - start - wide - 9))
  ctx.globalAlpha = 1
  for (let i = 0; i < wide; i += 1) {
    ctx.fillStyle = colour(data, data.low + (data.high - data.low) * i / (wide - 1)); ctx.fillRect(start + i, y - 6, 1.5, 12)
  }
}

function frame(ctx, s, [r, e], [q, f], ink, width) {
  const x = LEFT + Math.min(e, f) * s.w, y = TOP + Math.min(r, q) * s.h
  ctx.strokeStyle = ink; ctx.lineWidth = width
  ctx.strokeRect(x, y, (Math.abs(e - f) + 1) * s.w, (Math.abs(r - q) + 1) * s.h)
}

// ---- what is under the mouse or the keys

function place(data, text) {
  const found = /^L(\d+)E(\d+)$/.exec(text), row = found ? data.layers.indexOf(Number(found[1])) : -1
  return row < 0 ? null : [row, Number(found[2])]
}

function under(board, event) {
  const box = board.canvas.getBoundingClientRect(), s = sizes(board)
  return [Math.floor((event.clientY - box.top - TOP) / s.h), Math.floor((event.clientX - box.left - LEFT) / s.w)]
}

function inside(board, [r, e]) {
  const s = sizes(board)
  return [Math.max(0, Math.min(s.rows - 1, r)), Math.max(0, Math.min(s.columns - 1, e))]
}

function say(board, at) {
  const { data } = board
  board.over = at
  if (!at || !exists(data, at)) { board.readout.textContent = data.hint; return }
  const value = data.values[at[0]][at[1]], kind = data.edits[name(data, at)], n = data.counts && data.counts[at[0]][at[1]]
  const said = value === null ? 'no value' : `${Number(value.toPrecision(4))} (${data.unit})`
  board.readout.textContent = `${name(data, at)}: ${said}${n === null || n === undefined ? '' : `; n = ${n.toLocaleString('en')}`}${kind ? `; ${kind}` : ''}`
}

function pick(board, [r, e], [q, f]) {
  const cells = []
  for (let row = Math.min(r, q); row <= Math.max(r, q); row += 1) {
    for (let x = Math.min(e, f); x <= Math.max(e, f); x += 1) if (exists(board.data, [row, x])) cells.push([row, x])
  }
  if (!cells.length) return
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
