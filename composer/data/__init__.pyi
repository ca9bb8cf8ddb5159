from composer.data.image_draws import alternating_flips as alternating_flips
from composer.data.image_loader import DeviceImageLoader as DeviceImageLoader
from composer.data.packed_documents import PackedDocuments as PackedDocuments
from composer.data.packed_documents import document_mask as document_mask
from composer.data.packed_documents import pack_documents as pack_documents
from composer.data.packing import Packing as Packing
from composer.data.packing import plan_packing as plan_packing
