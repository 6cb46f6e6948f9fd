-- Which exposures have no raw file, or one with other content than was registered?
SELECT
    exposure.id AS item_id,
    exposure.name || CASE
        WHEN product.id IS NULL THEN ' has no raw file'
        ELSE ' was registered with another checksum than its raw file ' || product.path
    END AS what
FROM (
    SELECT id, name, checksum FROM pawprint
    UNION ALL
    SELECT id, name, checksum FROM calfile
) AS exposure
LEFT JOIN product ON product.item_id = exposure.id AND product.kind = 'raw'
WHERE product.id IS NULL OR product.checksum <> exposure.checksum
