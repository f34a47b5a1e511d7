"""Small real files of every format, made here."""

import io
import json
import zipfile

import openpyxl
import pptx

OOXML = "application/vnd.openxmlformats-officedocument"
DOCX = f"{OOXML}.wordprocessingml.document"
PPTX = f"{OOXML}.presentationml.presentation"
XLSX = f"{OOXML}.spreadsheetml.sheet"
EPUB = "application/epub+zip"
IPYNB = "application/x-ipynb+json"
PDF = "application/pdf"
HTML = "text/html"
CSV = "text/csv"

W = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
RELATIONSHIPS = "http://schemas.openxmlformats.org/package/2006/relationships"
OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"


def zipped(entries: dict[str, str | bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, body in entries.items():
            archive.writestr(name, body)
    return buffer.getvalue()


def docx(text: str, **more: bytes) -> bytes:
    """A Word document with a heading and a paragraph; `more` adds parts under word/."""
    return zipped(
        {
            "[Content_Types].xml": '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
            '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
            f'<Override PartName="/word/document.xml" ContentType="{DOCX}.main+xml"/></Types>',
            "_rels/.rels": f'<Relationships xmlns="{RELATIONSHIPS}"><Relationship Id="r1" Type="{OFFICE}/officeDocument" '
            'Target="word/document.xml"/></Relationships>',
            "word/document.xml": f'<w:document xmlns:w="{W}"><w:body><w:p><w:pPr><w:pStyle w:val="Heading1"/></w:pPr>'
            f"<w:r><w:t>Fees</w:t></w:r></w:p><w:p><w:r><w:t>{text}</w:t></w:r></w:p></w:body></w:document>",
            "word/styles.xml": f'<w:styles xmlns:w="{W}"><w:style w:type="paragraph" w:styleId="Heading1">'
            '<w:name w:val="heading 1"/></w:style></w:styles>',
            **{f"word/{name}.xml": body for name, body in more.items()},
        }
    )


def xlsx(text: str) -> bytes:
    workbook = openpyxl.Workbook()
    workbook.active.append(["what", "price"])
    workbook.active.append([text, 1])
    buffer = io.BytesIO()
    workbook.save(buffer)
    return buffer.getvalue()


def slides(text: str) -> bytes:
    presentation = pptx.Presentation()
    slide = presentation.slides.add_slide(presentation.slide_layouts[0])
    slide.shapes.title.text = text
    buffer = io.BytesIO()
    presentation.save(buffer)
    return buffer.getvalue()


def epub(text: str) -> bytes:
    container = '<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles><rootfile full-path="a.opf"/>'
    package = '<package xmlns="http://www.idpf.org/2007/opf" xmlns:dc="http://purl.org/dc/elements/1.1/">'
    return zipped(
        {
            "mimetype": EPUB,
            "META-INF/container.xml": f"{container}</rootfiles></container>",
            "a.opf": f"{package}<metadata><dc:title>Price list</dc:title></metadata><manifest>"
            '<item id="c" href="c.xhtml"/></manifest><spine><itemref idref="c"/></spine></package>',
            "c.xhtml": f"<html><body><h1>Fees</h1><p>{text}</p></body></html>",
        }
    )


def pdf(text: str) -> bytes:
    """A PDF of one page; without a cross-reference table, which readers rebuild."""
    content = f"BT /F1 12 Tf 72 720 Td ({text}) Tj ET".encode()
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R /Resources << /Font << /F1 5 0 R >> >> >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(content), content),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    body = b"".join(b"%d 0 obj\n%s\nendobj\n" % (number, item) for number, item in enumerate(objects, 1))
    return b"%PDF-1.4\n" + body + b"trailer << /Root 1 0 R /Size 6 >>\n%%EOF\n"


def html(text: str) -> bytes:
    return f"<html><head><title>Prices</title></head><body><h1>Fees</h1><p>{text}</p><script>x()</script></body></html>".encode()


def notebook(text: str) -> bytes:
    cell = {"cell_type": "markdown", "source": ["# Fees\n", text]}
    return json.dumps({"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}).encode()


def csv(text: str) -> bytes:
    return f"what,price\n{text},1\n".encode()


MAKERS = {DOCX: docx, XLSX: xlsx, PPTX: slides, EPUB: epub, PDF: pdf, HTML: html, IPYNB: notebook, CSV: csv}
