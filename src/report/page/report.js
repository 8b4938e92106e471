/**
 * What the page does beside being there: searching the graph, tips on cells, light or dark. It runs in
 * the browser as it is, without modules, and never makes HTML out of text.
 */
;(() => {
  const root = document.documentElement
  const byId = (id) => document.getElementById(id)

  const theme = byId('theme')
  theme.hidden = false
  theme.addEventListener('click', () => {
    const isDark = root.dataset.theme
      ? root.dataset.theme === 'dark'
      : matchMedia('(prefers-color-scheme: dark)').matches
    root.dataset.theme = isDark ? 'light' : 'dark'
  })

  const search = byId('search')
  search.parentElement.hidden = false
  const groups = [...document.querySelectorAll('.differences tbody')].map((body) => {
    const [head, ...rows] = body.rows
    const title = head.textContent.toLowerCase()
    return {
      body,
      title,
      rows: rows.map((row) => ({ row, text: `${title} ${row.textContent.toLowerCase()}` })),
    }
  })
  // Numbers are whole: 3 is not found in 4,336, nor in layer 30.
  const has = (text, word) =>
    /^\d+$/.test(word) ? new RegExp(`(?<!\\d)${word}(?!\\d)`).test(text) : text.includes(word)
  const filter = () => {
    const asked = search.value.toLowerCase()
    const layer = /\blayer\s+\d+\b/.exec(asked)?.[0]
    const words = asked
      .replace(layer ?? '', '')
      .split(/\s+/)
      .filter(Boolean)
    let found = 0
    let all = 0
    for (const { body, title, rows } of groups) {
      const isLayer = !layer || title === layer.replace(/\s+/, ' ')
      let own = 0
      for (const { row, text } of rows) {
        row.hidden = !isLayer || !words.every((word) => has(text, word))
        if (!row.hidden) own++
      }
      body.hidden = own === 0
      found += own
      all += rows.length
    }
    byId('found').textContent = asked.trim() === '' ? '' : `${found} of ${all}`
  }
  search.addEventListener('input', filter)
  addEventListener('keydown', (event) => {
    const isTyping = /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName)
    if (event.key === '/' && !isTyping && !event.ctrlKey && !event.metaKey) {
      event.preventDefault()
      search.focus()
    }
    if (event.key === 'Escape') {
      hideTip()
      if (event.target === search) {
        search.value = ''
        filter()
      }
    }
  })

  const tip = byId('tip')
  let shown
  const hideTip = () => {
    shown = undefined
    tip.hidden = true
  }
  const placeTip = () => {
    if (!shown) return
    const cell = shown.getBoundingClientRect()
    const left = Math.min(cell.left, innerWidth - tip.offsetWidth - 8)
    const isAbove = cell.top > tip.offsetHeight + 12
    tip.style.left = `${Math.max(8, left)}px`
    tip.style.top = `${isAbove ? cell.top - tip.offsetHeight - 6 : cell.bottom + 6}px`
  }
  addEventListener('pointerover', ({ target }) => {
    if (!target.dataset?.tip) return hideTip()
    shown = target
    tip.textContent = target.dataset.tip
    tip.hidden = false
    placeTip()
  })
  addEventListener('scroll', placeTip, true)

  // On paper everything is open and nothing is filtered out.
  addEventListener('beforeprint', () => {
    search.value = ''
    filter()
    hideTip()
    for (const each of document.querySelectorAll('details')) each.open = true
  })
})()
