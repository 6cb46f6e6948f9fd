-- Which arrivals count as registered, or as duplicates, but lead to no exposure with a raw file?
SELECT
    arrival.id AS item_id,
    arrival.path || ' is ' || state.name || ', but ' || CASE
        WHEN arrival.exposure_id IS NULL THEN 'leads to no exposure'
        ELSE 'item ' || arrival.exposure_id || ' has no raw file'
    END AS what
FROM arrival
INNER JOIN item ON item.id = arrival.id
INNER JOIN state ON state.id = item.state_id
LEFT JOIN product ON product.item_id = arrival.exposure_id AND product.kind = 'raw'
WHERE state.name IN ('registered', 'duplicate') AND product.id IS NULL
