from collections import Counter
def report(verdicts):
    c=Counter((v.area,v.status) for v in verdicts)
    for v in sorted(verdicts,key=lambda v:(v.area,v.name)):
        if v.failures:
            print("##",v.name)
            for f in v.failures: print("    ",f)
    for k,n in sorted(c.items()): print(k,n)
    return any(v.failures for v in verdicts)
