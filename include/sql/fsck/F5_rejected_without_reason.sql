-- Which arrivals were refused, or put aside as duplicates, without a reason on record?
SELECT
    arrival.id AS item_id,
    arrival.path || ' is ' || state.name || ' without a reason' AS what
FROM arrival
INNER JOIN item ON item.id = arrival.id
INNER JOIN state ON state.id = item.state_id
LEFT JOIN rejection ON rejection.arrival_id = arrival.id
WHERE state.name IN ('rejected', 'duplicate') AND rejection.id IS NULL
