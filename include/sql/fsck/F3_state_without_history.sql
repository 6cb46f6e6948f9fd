-- Which items are not in the state that their last change led to?
SELECT
    item.id AS item_id,
    'is ' || COALESCE(state.name, 'in no known state') || ' after ' || item.state_count || ' changes, but ' || CASE
        WHEN change.id IS NULL THEN 'that change is not recorded'
        WHEN later.id IS NOT NULL THEN 'there is a later one'
        ELSE 'that change led to ' || COALESCE(led_to.name, 'no known state')
    END AS what
FROM item
LEFT JOIN state ON state.id = item.state_id
LEFT JOIN statechange AS change
    ON change.item_id = item.id AND change.count = item.state_count
LEFT JOIN statechange AS later
    ON later.item_id = item.id AND later.count = item.state_count + 1
LEFT JOIN state AS led_to ON led_to.id = change.nw_state_id
WHERE change.id IS NULL OR later.id IS NOT NULL OR change.nw_state_id <> item.state_id
