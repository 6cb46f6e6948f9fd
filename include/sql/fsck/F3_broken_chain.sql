-- Where does the history of an item have a gap, or a change that does not begin where the one before it ended?
SELECT
    change.item_id AS item_id,
    'change ' || change.count || CASE
        WHEN change.count < 1 THEN ' counts below one'
        WHEN previous.id IS NULL THEN ' has no change before it'
        ELSE ' does not begin in the state that change ' || previous.count || ' led to'
    END AS what
FROM statechange AS change
LEFT JOIN statechange AS previous
    ON previous.item_id = change.item_id AND previous.count = change.count - 1
WHERE
    change.count < 1
    OR (
        change.count > 1
        AND (previous.id IS NULL OR change.old_state_id IS NULL OR change.old_state_id <> previous.nw_state_id)
    )
